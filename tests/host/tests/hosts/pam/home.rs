//! Homes: made under each service, whole whatever ends the process that makes them.

use hostward_host_tests::{Fixture, SOON, new_lab, on_each_release};

use super::{cron, stop_everything};

/// The calls by which a home grows.
const CALLS: &str = "mkdirat,flock,fchmod,fchown,fchownat,symlinkat,renameat2";
/// More than making one takes.
const MOST: u32 = 80;

on_each_release! {
    /// sshd, su, cron and a user manager, with everything of hostward's stopped.
    fn a_home_is_there_before_whatever_needs_it(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        stop_everything(host);
        let again = || host.must("loginctl terminate-user alice 2>/dev/null; systemctl stop user@70001.service; rm -rf /home/alice");
        let is_whole = |how: &str| {
            assert_eq!(host.stat("/home/alice"), "directory 700 alice:alice", "{how}");
            assert_eq!(host.stat("/home/alice/.profile"), "regular file 600 alice:alice", "{how}");
            assert_eq!(host.ok("ls -A /home"), "alice\n", "{how}");
        };
        assert_eq!(fixture.ssh_as("alice").run("pwd; echo $XDG_RUNTIME_DIR").expect_success(), "/home/alice\n/run/user/70001\n");
        is_whole("sshd");
        let manager = host.ok("systemctl show --property=MainPID --value user@70001.service");
        assert_eq!(host.ok(&format!("readlink /proc/{}/cwd", manager.trim())), "/home/alice\n", "made before the user manager started");
        again();
        assert_eq!(host.ok("su - alice -c pwd"), "/home/alice\n");
        is_whole("su");
        again();
        host.must("systemctl start user@70001.service");
        is_whole("a user manager");
        again();
        cron(host, "alice", "pwd >~/where");
        host.wait_until_ok(SOON, "test -s /home/alice/where");
        assert_eq!(host.read("/home/alice/where"), "/home/alice\n");
        host.must("rm /home/alice/where");
        is_whole("cron");
        // What is there stays as it is, and so does what was put in its place.
        host.must("rm /home/alice/.profile; su - alice -c true; test ! -e /home/alice/.profile");
        host.must("rm -rf /home/alice; ln -s /nowhere /home/alice; su - alice -c true || true; test -L /home/alice; rm /home/alice");
    }

    /// Killed at each call in turn.
    fn no_home_is_half_done(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        host.must("cd /etc/skel && mkdir -p a/b && echo deep >a/b/file && ln -s /etc/shadow link && mkfifo pipe && \
                   cp /usr/bin/true tool && chmod 6755 tool");
        let mut killed = 0;
        for n in 1..MOST {
            let su = host.run(&format!(
                "strace -qq -o /run/strace.log -e trace={CALLS} -e inject={CALLS}:signal=SIGKILL:when={n} su - alice -c true"
            ));
            let met = host.run("grep -q 'killed by SIGKILL' /run/strace.log").success();
            if !met {
                assert!(su.success(), "{su}");
                break;
            }
            killed += 1;
            let names = host.ok("ls -A /home");
            // The last ones are after the rename: whatever is there is whole.
            if names.lines().any(|name| name == "alice") {
                assert_eq!(host.ok("cat /home/alice/a/b/file; stat -c %a:%u /home/alice"), "deep\n700:70001\n", "killed at {n}");
                host.must("rm -rf /home/alice");
            }
            assert!(names.lines().filter(|name| name.starts_with(".hostward-new-70001-")).count() <= 1, "{n}: {names}");
        }
        // A directory, its lock, five entries and a directory within, each with mode and owner, and the rename.
        assert!((15..MOST - 1).contains(&killed), "{killed}");
        host.must("su - alice -c true");
        assert_eq!(host.ok("ls -A /home"), "alice\n", "nothing is left over");
        assert_eq!(host.stat("/home/alice/tool"), "regular file 700 alice:alice");
        assert_eq!(host.ok("readlink /home/alice/link"), "/etc/shadow\n");
        assert_eq!(host.stat("/etc/shadow"), "regular file 640 root:shadow");
        assert!(!host.exists("/home/alice/pipe"));
        assert_eq!(host.ok("find /home/alice ! -user alice -o ! -group alice"), "");
    }

    /// A login goes on without a home, and says so.
    fn where_no_home_can_be_made_the_login_says_so(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        host.must("chmod 1777 /home");
        let login = fixture.ssh_as("alice").run("pwd");
        assert_eq!(login.expect_success(), "/\n");
        let su = host.run("su - alice -c pwd");
        assert!(su.stderr.contains("hostward: cannot make the home `/home/alice`: `/home` is not a directory of root's"), "{su}");
        host.wait_until_ok(SOON, "journalctl --no-pager | grep 'pam_hostward(su-l:session): hostward: cannot make the home'");
        host.must("chmod 755 /home && mount -t tmpfs -o size=4k,nr_inodes=2 tmpfs /home");
        let su = host.run("su - alice -c pwd");
        assert!(su.success() && su.stderr.contains("hostward: cannot make the home"), "{su}");
        assert_eq!(host.ok("ls -A /home"), "", "nothing is left over");
        host.must("umount /home; su - alice -c true");
        assert_eq!(host.stat("/home/alice"), "directory 700 alice:alice");
    }
}
