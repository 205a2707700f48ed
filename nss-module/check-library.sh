#!/bin/sh
# Checks that FILE, the NSS module or the subordinate id module, is fit to be loaded into whatever process of a host asks.
# Exit 1, with a line for each reason, if not.
set -eu

# shellcheck source=packaging/library.sh
. "$(dirname "$0")/../packaging/library.sh"

case $soname in
libnss_hostward.so.2)
	wanted=$(for name in getpwnam_r getpwuid_r setpwent getpwent_r endpwent getgrnam_r getgrgid_r setgrent getgrent_r endgrent \
		getspnam_r setspent getspent_r endspent initgroups_dyn; do echo "_nss_hostward_$name"; done | sort)
	# No allocation but initgroups' realloc, no locks, no environment, no cancellation point.
	calls='realloc strnlen'
	;;
libsubid_hostward.so)
	wanted=$(for name in has_range list_owner_ranges find_subid_owners free; do echo "shadow_subid_$name"; done | sort)
	calls='__errno_location close free getpwnam_r open open64 read realloc strlen'
	;;
*)
	refuse "its SONAME is \"$soname\": glibc looks for libnss_hostward.so.2, shadow for libsubid_hostward.so"
	wanted='' calls=''
	;;
esac

needed=$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')
[ "$needed" = 'libc.so.6 ' ] || refuse "it needs $needed: it may need libc.so.6 alone"

case $segments in *' TLS '*) refuse 'it has thread-local storage, which a late dlopen may not get' ;; esac

exported=$(echo "$symbols" | awk '$1 != "U" && $1 != "w" && $1 != "v" && NF == 3 && $2 != "w" { print $3 }' | sort)
[ -z "$wanted" ] || [ "$exported" = "$wanted" ] || refuse "it exports $(echo "$exported" | wc -l) symbols, not the $(echo "$wanted" | wc -l) functions of the module"

# What it may ask of libc, besides: to copy and compare. The system calls that mapping takes it makes itself.
allowed=" bcmp memcmp memcpy memmove memset $calls "
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
