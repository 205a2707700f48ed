//! Containers on ci that have the socket mounted, as a container engine without user namespaces mounts it; and with one.

use hostward_host_tests::{Output, new_lab, on_each_release};
use hostward_lab::with_version;

use super::site::Site;

/// A root file system of its own, in whose /run there is only the socket.
const MAKE: &str = "mkdir -p /srv/c && mount --bind / /srv/c && mount --make-private /srv/c && \
    mount -t tmpfs tmpfs /srv/c/run && mkdir /srv/c/run/hostward && touch /srv/c/run/hostward/ssh-agent.sock && \
    mount --bind /run/hostward/ssh-agent.sock /srv/c/run/hostward/ssh-agent.sock && \
    mount -t tmpfs tmpfs /srv/c/var/lib/hostward && mkdir /srv/c/var/lib/hostward/ssh && \
    mount --bind -o ro /var/lib/hostward/ssh /srv/c/var/lib/hostward/ssh";

/// Runs a command in it, with a uid.
fn inside(site: &Site<'_>, uid: u32, command: &str) -> Output {
    site.ci.host.run(&format!(
        "unshare --mount --pid --fork --kill-child chroot --userspec={uid}:{uid} --groups= /srv/c \
         env HOME=/tmp SSH_AUTH_SOCK=/run/hostward/ssh-agent.sock sh -c '{command}'"
    ))
}

/// Runs a command as uid 112 of a user namespace, which is 100112 outside.
fn mapped(site: &Site<'_>, command: &str) -> Output {
    site.ci.host.run(&format!(
        "unshare --user sleep 60 & p=$!
         while [ $(readlink /proc/$p/ns/user) = $(readlink /proc/$$/ns/user) ]; do :; done
         echo 112 100112 1 >/proc/$p/uid_map && echo 112 100112 1 >/proc/$p/gid_map
         nsenter --user --target $p --setuid 112 --setgid 112 \
         env SSH_AUTH_SOCK=/run/hostward/ssh-agent.sock sh -c '{command}'; status=$?; kill $p; exit $status"
    ))
}

on_each_release! {
    /// The uid is all that counts: mounting the socket hands over what the uid has on the host.
    fn a_container_with_the_socket_has_what_its_uid_has(release) {
        let lab = new_lab();
        let site = Site::new(&lab, release);
        site.ci.host.must(MAKE);
        let gone = inside(&site, 112, "hostward ssh web1 id -un");
        assert_eq!(gone.expect_success(), "deploy\n");
        let plain = inside(&site, 112, "hostward proxycommand --config >/tmp/config && ssh -F /tmp/config web1 id -un");
        assert_eq!(plain.expect_success(), "deploy\n");
        for uid in [0, 113] {
            let listed = inside(&site, uid, "ssh-add -l");
            assert!(listed.stdout.contains("no identities"), "{uid}: {listed}");
            let refused = inside(&site, uid, "hostward ssh web1 true");
            assert!(refused.status == 1 && refused.stderr.contains("stands for no service user"), "{refused}");
        }
        // In a user namespace of its own the same number is another uid.
        let other = mapped(&site, "id -u; ssh-add -l");
        assert!(other.stdout.starts_with("112\n") && other.stdout.contains("no identities"), "{other}");

        // Mounted once, it is there after an upgrade: the socket is not made anew.
        let newer = with_version(&hostward_host_tests::package(), "9.0-1", &lab.directory("packages").expect("a directory"));
        site.ci.host.upgrade(&newer.expect("a newer package"));
        let gone = inside(&site, 112, "hostward ssh web1 id -un");
        assert_eq!(gone.expect_success(), "deploy\n");
    }
}
