# What holds for every library that is loaded into processes of others. Sourced by the check of each, with the library as $1.
# Sets file, dynamic, segments, symbols, soname and bad; `refuse` says a reason and makes bad 1.
# shellcheck shell=sh disable=SC2034

file=${1:?usage: check-library.sh FILE}
[ -f "$file" ] || { echo "check-library.sh: no file $file" >&2; exit 2; }
for tool in readelf nm; do
	command -v "$tool" > /dev/null || { echo "check-library.sh: $tool is missing (package binutils)" >&2; exit 2; }
done

dynamic=$(readelf --wide --dynamic "$file")
segments=$(readelf --wide --program-headers "$file")
symbols=$(nm --dynamic "$file")
soname=$(echo "$dynamic" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')

bad=0
refuse() { echo "$file: $1" >&2; bad=1; }

echo "$segments" | grep -q 'GNU_STACK.* RW ' || refuse 'its stack is executable, or not said not to be'
echo "$segments" | grep -q GNU_RELRO || refuse 'it is linked without relro'
echo "$segments" | awk '$1 == "LOAD" && / RWE / { found = 1 } END { exit !found }' && refuse 'a segment is writable and executable'
echo "$dynamic" | grep -Eq '\(FLAGS(_1)?\).*\b(BIND_)?NOW\b' || refuse 'it is linked without -z now'
case $dynamic in *'(TEXTREL)'*) refuse 'it has text relocations' ;; esac
case $dynamic in *'(RPATH)'* | *'(RUNPATH)'*) refuse 'it has a search path for libraries' ;; esac
