#!/bin/sh
# Checks that FILE, the NSS module or the subordinate id module, is fit to be loaded into whatever process of a host asks.
# Exit 1, with a line for each reason, if not.
set -eu

file=${1:?usage: check-library.sh FILE}
[ -f "$file" ] || { echo "check-library.sh: no file $file" >&2; exit 2; }
for tool in readelf nm; do
	command -v "$tool" > /dev/null || { echo "check-library.sh: $tool is missing (package binutils)" >&2; exit 2; }
done

dynamic=$(readelf --wide --dynamic "$file")
segments=$(readelf --wide --program-headers "$file")
symbols=$(nm --dynamic "$file")

bad=0
refuse() { echo "$file: $1" >&2; bad=1; }

soname=$(echo "$dynamic" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
case $soname in
libnss_hostward.so.2)
	wanted=$(for name in getpwnam_r getpwuid_r setpwent getpwent_r endpwent getgrnam_r getgrgid_r setgrent getgrent_r endgrent \
		getspnam_r setspent getspent_r endspent initgroups_dyn; do echo "_nss_hostward_$name"; done | sort)
	# No allocation but initgroups' realloc, no locks, no environment, no cancellation point.
	calls='getrlimit getrlimit64 madvise realloc strnlen'
	;;
libsubid_hostward.so)
	wanted=$(for name in has_range list_owner_ranges find_subid_owners free; do echo "shadow_subid_$name"; done | sort)
	calls='close free getpwnam_r open open64 read realloc strlen'
	;;
*)
	refuse "its SONAME is \"$soname\": glibc looks for libnss_hostward.so.2, shadow for libsubid_hostward.so"
	wanted='' calls=''
	;;
esac

needed=$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')
[ "$needed" = 'libc.so.6 ' ] || refuse "it needs $needed: it may need libc.so.6 alone"

case $segments in *' TLS '*) refuse 'it has thread-local storage, which a late dlopen may not get' ;; esac
echo "$segments" | grep -q 'GNU_STACK.* RW ' || refuse 'its stack is executable, or not said not to be'
echo "$segments" | grep -q GNU_RELRO || refuse 'it is linked without relro'
echo "$segments" | awk '$1 == "LOAD" && / RWE / { found = 1 } END { exit !found }' && refuse 'a segment is writable and executable'
echo "$dynamic" | grep -Eq '\(FLAGS(_1)?\).*\b(BIND_)?NOW\b' || refuse 'it is linked without -z now'
case $dynamic in *'(TEXTREL)'*) refuse 'it has text relocations' ;; esac
case $dynamic in *'(RPATH)'* | *'(RUNPATH)'*) refuse 'it has a search path for libraries' ;; esac

exported=$(echo "$symbols" | awk '$1 != "U" && $1 != "w" && $1 != "v" && NF == 3 && $2 != "w" { print $3 }' | sort)
[ "$exported" = "$wanted" ] || refuse "it exports $(echo "$exported" | wc -l) symbols, not the $(echo "$wanted" | wc -l) functions of the module"

# What it may ask of libc, besides what every mapping of the database takes.
allowed=" __errno_location bcmp fstat fstat64 __fxstat __fxstat64 memcmp memcpy memmove memset mmap mmap64 munmap syscall $calls "
for symbol in $(echo "$symbols" | awk '$1 == "U" { sub(/@.*/, "", $2); print $2 }'); do
	case $allowed in
	*[[:space:]]"$symbol"[[:space:]]*) ;;
	*) refuse "it calls $symbol" ;;
	esac
done

# The panic handler refers to a symbol that nobody defines; std brings its own.
if nm "$file" 2> /dev/null | grep -Eq 'panic|rust_eh_personality|__rust_(alloc|start)'; then
	refuse 'a panic is reachable, or std is linked: build it with --profile nss'
fi
exit "$bad"
