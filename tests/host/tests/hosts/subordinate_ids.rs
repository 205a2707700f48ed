//! Containers without root: the real newuidmap and newgidmap, asked by managed and by local users.

use hostward_host_tests::{Fixture, Release, SOON, TEAM, edited, new_lab};

/// alice may map a thousand ids, bob none.
fn team() -> String {
    edited(
        TEAM,
        "gecos = \"Alice Adams\"",
        "gecos = \"Alice Adams\"\nsubids = [{ start = 600100000, count = 1000 }]",
    )
}

/// Maps `first` and `count` ids from 0 on; prints both maps.
fn maps(first: u32, count: u32) -> String {
    format!(
        "set -e; rm -f go; mkfifo go; unshare --user sh -c 'read go' <go & pid=$!; exec 3>go
         until [ \"$(readlink /proc/$pid/ns/user)\" != \"$(readlink /proc/$$/ns/user)\" ]; do sleep 0.02; done
         newuidmap $pid 0 {first} {count} && newgidmap $pid 0 {first} {count} && cat /proc/$pid/uid_map /proc/$pid/gid_map
         status=$?; echo >&3; wait; exit $status"
    )
}

#[track_caller]
fn assert_maps(fixture: &Fixture<'_>, user: &str, first: u32, count: u32, may: bool) {
    let output = fixture.host.run_as(user, &format!("cd; {}", maps(first, count)));
    let line = format!("0 {first} {count}");
    let shown: Vec<String> =
        output.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(output.success(), may, "{user} maps {count} from {first}: {output}");
    assert_eq!(shown, if may { vec![line.clone(), line] } else { vec![] }, "{output}");
}

fn served(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&team()).enrolled();
    let host = &fixture.host;
    host.install_offered("uidmap");
    host.must("useradd --create-home --shell /bin/bash olga; useradd --create-home --shell /bin/bash oleg");
    host.must(
        "sed -i '/^olga:/d; /^oleg:/d' /etc/subuid /etc/subgid
         for file in /etc/subuid /etc/subgid; do echo olga:200000:65536 >>$file; echo $(id -u oleg):300000:10 >>$file; done
         install -d -o alice -g alice /home/alice; install -d -o bob -g bob /home/bob",
    );
    // Off by default: shadow asks its files, and nothing has changed for local users.
    assert_maps(&fixture, "olga", 200_000, 65_536, true);
    assert_maps(&fixture, "alice", 600_100_000, 1000, false);
    assert!(fixture.hostward("doctor").stdout.contains("subid: hostward"), "the mend is told");

    host.must("cp -a /etc/nsswitch.conf /root/before; echo 'subid: hostward' >>/etc/nsswitch.conf");
    assert_maps(&fixture, "alice", 600_100_000, 1000, true);
    assert_maps(&fixture, "alice", 600_100_999, 1, true);
    for (first, count) in [(600_099_999, 2), (600_100_999, 2), (600_101_000, 1), (200_000, 1), (1000, 1)] {
        assert_maps(&fixture, "alice", first, count, false);
    }
    assert_maps(&fixture, "bob", 600_100_000, 1, false);
    // Local users keep theirs, by name and by number, and get nobody else's.
    assert_maps(&fixture, "olga", 200_000, 65_536, true);
    assert_maps(&fixture, "oleg", 300_000, 10, true);
    assert_maps(&fixture, "olga", 600_100_000, 1, false);
    assert_maps(&fixture, "oleg", 200_000, 1, false);
    assert!(fixture.hostward("doctor").stdout.contains("libsubid_hostward.so"), "it is in use");
    assert!(host.ok("getsubids alice").contains("600100000 1000"));
    assert_eq!(host.ok("getsubids -g olga").trim(), "0: olga 200000 65536");

    // A range that somebody local has meanwhile is not served any more.
    host.must("echo olga:600100500:10 >>/etc/subuid; hostward apply || true");
    assert_maps(&fixture, "alice", 600_100_000, 1000, false);
    assert_maps(&fixture, "olga", 600_100_500, 10, false);
    host.must("sed -i '/600100500/d' /etc/subuid; hostward apply");
    assert_maps(&fixture, "alice", 600_100_000, 1000, true);

    // Without its module shadow would give nobody anything.
    host.purge("hostward");
    host.must("cmp /etc/nsswitch.conf /root/after || ! grep -q hostward /etc/nsswitch.conf");
    assert_maps(&fixture, "olga", 200_000, 65_536, true);
}

#[test]
fn newuidmap_asks_hostward_and_local_users_lose_nothing_bookworm() {
    served(Release::Bookworm);
}

#[test]
fn newuidmap_asks_hostward_and_local_users_lose_nothing_trixie() {
    served(Release::Trixie);
}

/// What somebody runs under subordinate ids ends with their login, wherever it hides.
fn leaver(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&team()).enrolled();
    let host = &fixture.host;
    // As root, so that neither session, control group nor login uid tells whose it is.
    let hidden = "setsid --fork systemd-run --quiet --unit hidden unshare --pid --fork \
                  setpriv --reuid 600100500 --regid 600100500 --clear-groups sleep 77001";
    host.must(hidden);
    let others = "systemd-run --quiet --unit others setpriv --reuid 600101000 --regid 600101000 --clear-groups sleep 77002";
    host.must(others);
    host.wait_until_ok(SOON, "pgrep -f '^sleep 77001' && pgrep -f '^sleep 77002'");
    fixture.change_team(|team| edited(team, "members = [\"alice\", \"bob\"]", "members = [\"bob\"]"));
    host.wait_until_ok(SOON, "! pgrep -f '^sleep 77001'");
    host.must("pgrep -f '^sleep 77002'");
    // The ids stay hers.
    let team = fixture.team();
    let greedy = edited(
        &team,
        "gecos = \"Bob Brown\"",
        "gecos = \"Bob Brown\"\nsubids = [{ start = 600100999, count = 2 }]",
    );
    let without = edited(&greedy, "\nsubids = [{ start = 600100000, count = 1000 }]", "");
    fixture.publish(|_| without);
    host.wait_until_ok(SOON, "hostward sync; grep -q subids-were-anothers /var/lib/hostward/report.json");
}

#[test]
fn what_runs_under_subordinate_ids_ends_with_the_login() {
    leaver(Release::Bookworm);
}
