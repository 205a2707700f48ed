//! Containers without root: the real newuidmap and newgidmap, asked by managed and by local users.

use hostward_host_tests::{Fixture, Release, SOON, TEAM, edited, new_lab, package};

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

/// Has shadow ask this service.
#[track_caller]
fn switch(fixture: &Fixture<'_>, service: &str) {
    fixture.host.must(&format!(
        "sed -i '/^subid:/d' /etc/nsswitch.conf; echo 'subid: {service}' >>/etc/nsswitch.conf"
    ));
}

fn served(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&team()).without_package().boot();
    let host = &fixture.host;
    host.must("cp -a /etc/nsswitch.conf /root/pristine");
    host.install(&package());
    fixture.trust_backend("");
    fixture.enroll();
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

    switch(&fixture, "hostward");
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

    // Somebody local who has the name meanwhile has not the ids.
    host.must("cp -a /etc/passwd /root/passwd; echo 'alice:x:5005:5005::/:/bin/sh' >>/etc/passwd");
    assert!(!host.run("getsubids alice").stdout.contains("600100000"));
    host.must("mv /root/passwd /etc/passwd");
    assert_maps(&fixture, "alice", 600_100_000, 1000, true);

    // Local users need no database.
    fixture.stop_timer();
    host.must("echo damaged >/var/lib/misc/new; mv /var/lib/misc/new /var/lib/misc/hostward.db");
    assert_maps(&fixture, "olga", 200_000, 65_536, true);
    assert_maps(&fixture, "oleg", 300_000, 10, true);
    assert_maps(&fixture, "oleg", 200_000, 1, false);
    assert!(host.ok("getsubids olga").contains("200000 65536"));
    host.must("rm /var/lib/misc/hostward.db");
    assert_maps(&fixture, "oleg", 300_000, 10, true);

    host.purge("hostward");
    assert_eq!(host.read("/etc/nsswitch.conf"), host.read("/root/pristine"));
    assert_maps(&fixture, "olga", 200_000, 65_536, true);
    // Nor is it the end of them where the line is left without the module.
    host.must("echo 'subid: hostward' >>/etc/nsswitch.conf");
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

/// Lines as people write them: by name, by number, for two names of one uid, side by side, and such as give nothing.
fn lines(uid_of_oleg: &str) -> String {
    let long = "x".repeat(2000);
    format!(
        "olga:200000:65536\n{uid_of_oleg}:300000:10\nolgas-other:400000:5\nolga:265536:10\n0{uid_of_oleg}:310000:10\n\
         nobody-at-all:320000:10\n+olga:330000:10\nolga:0x51615:8\n{long}:340000:10\nolga:{long}:340000:10\n\
         olga:345000:0\nolga:\n#olga:346000:5\nolga:347000:5:more\nolga:4294967290:100\n\nolga:350000:7"
    )
}

/// Where ranges begin, end, meet, or are none.
const PROBES: &[(u32, u32)] = &[
    (200_000, 65_536),
    (199_999, 2),
    (265_535, 2),
    (265_536, 10),
    (200_000, 65_546),
    (200_000, 65_547),
    (300_000, 10),
    (300_009, 2),
    (400_000, 5),
    (310_000, 1),
    (320_000, 1),
    (330_000, 1),
    (333_333, 8),
    (340_000, 1),
    (345_000, 1),
    (346_000, 1),
    (347_000, 5),
    (350_000, 7),
    (350_006, 2),
    (4_294_967_290, 5),
];

/// Everything that shadow says about local users, by whatever service it asks.
fn said(fixture: &Fixture<'_>) -> Vec<String> {
    let host = &fixture.host;
    let mut said = Vec::new();
    for user in ["olga", "olgas-other", "oleg", "nobody-at-all", "$(id -u oleg)", "root", ""] {
        for kind in ["", "-g"] {
            let output = host.run(&format!("getsubids {kind} \"{user}\""));
            said.push(format!("getsubids {kind} {user}: {:?} {}", output.success(), output.stdout));
        }
    }
    for user in ["olga", "olgas-other", "oleg"] {
        for (first, count) in PROBES {
            let output = host.run_as(user, &format!("cd; {}", maps(*first, *count)));
            said.push(format!("{user} maps {count} from {first}: {}", output.success()));
        }
    }
    said
}

/// Asked through the module, shadow says of local users what it says by itself.
fn as_shadow(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&team()).enrolled();
    let host = &fixture.host;
    host.install_offered("uidmap");
    host.must(
        "useradd --create-home --shell /bin/bash olga; useradd --create-home --shell /bin/bash oleg
         useradd --non-unique --uid $(id -u olga) --gid olga --home-dir /home/olga olgas-other",
    );
    let lines = lines(host.ok("id -u oleg").trim());
    for file in ["/etc/subuid", "/etc/subgid"] {
        host.write(file, 0o644, "root:root", &lines);
    }
    switch(&fixture, "files");
    let by_itself = said(&fixture);
    switch(&fixture, "hostward");
    assert_eq!(said(&fixture), by_itself);
    let may = |line: &str| by_itself.iter().any(|said| said == line);
    assert!(
        may("olga maps 65546 from 200000: true") && may("oleg maps 10 from 300000: true"),
        "{by_itself:#?}"
    );
    assert!(
        may("olga maps 5 from 400000: true") && may("olga maps 65547 from 200000: false"),
        "{by_itself:#?}"
    );
}

#[test]
fn of_local_users_the_module_says_what_shadow_says_bookworm() {
    as_shadow(Release::Bookworm);
}

#[test]
fn of_local_users_the_module_says_what_shadow_says_trixie() {
    as_shadow(Release::Trixie);
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
    let suspended = "gecos = \"Alice Adams\"\nstatus = \"suspended\"";
    fixture.change_team(|team| edited(team, "gecos = \"Alice Adams\"", suspended));
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
