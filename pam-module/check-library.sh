#!/bin/sh
# Checks that FILE, the PAM module, is fit to be loaded into sshd, sudo and whoever else asks PAM.
# Exit 1, with a line for each reason, if not.
set -eu

# shellcheck source=packaging/library.sh
. "$(dirname "$0")/../packaging/library.sh"

[ "$soname" = pam_hostward.so ] || refuse "its SONAME is \"$soname\""

# PAM and glibc. Whatever else it needed would be loaded into sshd.
needed=$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
foreign=$(echo "$needed" | grep -vxE 'libpam\.so\.0|libc\.so\.6|libpthread\.so\.0|libdl\.so\.2|ld-linux-x86-64\.so\.2' | tr '\n' ' ' || true)
[ -z "$foreign" ] || refuse "it needs $foreign"
echo "$needed" | grep -qx 'libpam\.so\.0' || refuse 'it does not name libpam.so.0, which a process may have loaded for itself alone'

# PAM unloads its modules, with which thread-local data would lose the code that ends it.
echo "$dynamic" | grep -q 'FLAGS_1.*NODELETE' || refuse 'it is linked without -z nodelete'

wanted=$(for name in acct_mgmt authenticate chauthtok close_session open_session setcred; do echo "pam_sm_$name"; done)
exported=$(echo "$symbols" | awk 'NF == 3 && $2 != "w" && $2 != "v" { print $3 }' | sort)
[ "$exported" = "$wanted" ] || refuse "it exports $(echo "$exported" | tr '\n' ' ')and not PAM's six entry points"

# No threads, no other processes, no change of what the process has: environment, signals, ids, directory, exit.
for symbol in $(echo "$symbols" | awk '$1 == "U" { sub(/@.*/, "", $2); print $2 }'); do
	case $symbol in
	pthread_create | pthread_atfork | __register_atfork | fork | vfork | clone | exec* | posix_spawn* | system | popen | waitpid | \
		setenv | putenv | unsetenv | clearenv | signal | sigaction | sigprocmask | pthread_sigmask | set*id | setgroups | \
		chdir | fchdir | chroot | umask | exit | _exit | atexit | __cxa_atexit | syslog | openlog | dlopen | pam_set_item | pam_putenv)
		refuse "it calls $symbol"
		;;
	esac
done

exit $bad
