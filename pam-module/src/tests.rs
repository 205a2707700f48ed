//! The entry points with a host that is a directory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use hostward_accounts::User;
use hostward_records::{Denied, DeniedPerson, Reason, Record, What};
use tempfile::TempDir;

use crate::abi::caught;
use crate::entry::{Answer, Item, Kept, Transaction, account, closed, make_home, opened};
use crate::host::Host;

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nlocal:x:1000:1000::/home/local:/bin/sh\n";
const DAMAGE: [&[u8]; 3] = [b"", b"{", &[0xff; 5000]];

struct Fake {
    service: &'static str,
    user: Option<String>,
    told: RefCell<Vec<String>>,
    kept: Cell<Option<Kept>>,
    variables: HashMap<&'static str, &'static str>,
}

impl Fake {
    fn of(service: &'static str, user: &str) -> Self {
        Self {
            service,
            user: Some(user.to_owned()),
            told: RefCell::default(),
            kept: Cell::default(),
            variables: [("XDG_SESSION_ID", "7"), ("SSH_AUTH_INFO_0", "publickey ssh-ed25519 AAAA\n")].into(),
        }
    }
}

impl Transaction for Fake {
    fn item(&self, item: Item) -> Option<String> {
        match item {
            Item::Service => Some(self.service.to_owned()),
            Item::User => self.user.clone(),
            Item::Tty => Some("/dev/pts/3".to_owned()),
            Item::RemoteHost => Some("192.0.2.7".to_owned()),
            Item::RemoteUser => Some(String::new()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn tell(&self, text: &str) {
        self.told.borrow_mut().push(text.to_owned());
    }

    fn keep(&self, session: Kept) {
        self.kept.set(Some(session));
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.get()
    }
}

struct World {
    dir: TempDir,
    host: Host,
}

impl World {
    /// A host on which alice is managed, bob until the second 1000, and local is local.
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests are about root's files, and need root");
        // Not /tmp, which is everybody's to write to: nothing is believed below it.
        let dir = TempDir::new_in("/root").expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let world = World { host: Host::at(dir.path()), dir };
        for (directory, mode) in [
            ("etc/skel", 0o755),
            ("home", 0o755),
            ("var/lib/misc", 0o755),
            ("var/lib/hostward/records", 0o750),
            ("run/hostward/records", 0o750),
        ] {
            let path = world.path(directory);
            fs::create_dir_all(&path).expect("a directory");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        std::os::unix::fs::chown(world.path("var/lib/hostward/records"), None, Some(4242)).expect("a group");
        fs::write(world.path("etc/passwd"), PASSWD).expect("written");
        let user = |name: &str, uid, valid_until| User {
            name: name.into(),
            uid,
            gid: uid,
            home: format!("/home/{name}"),
            shell: "/bin/sh".into(),
            valid_until,
            ..User::default()
        };
        let users = [user("alice", 70001, 0), user("bob", 70002, 1000)];
        world.write("var/lib/misc/hostward.db", &hostward_accounts::build(&users, &[], 1).expect("built"));
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs::write(self.path(path), content).expect("written");
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o644)).expect("a mode");
    }

    fn deny(&self, name: &str, uid: u32, reason: Reason, until: Option<u64>) {
        let people = vec![DeniedPerson { name: name.into(), uid, reason, until }];
        self.write("var/lib/hostward/denied.json", Denied::of(people, false).expect("one").json().as_bytes());
    }

    fn records_of(&self, file: &str) -> Vec<Record> {
        let lines = fs::read(self.path(file)).unwrap_or_default();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Record::parse(line).expect("a record")).collect()
    }

    fn records(&self) -> Vec<Record> {
        self.records_of("var/lib/hostward/records/current")
    }
}

#[test]
fn who_is_not_managed_is_ignored_by_everything_whatever_is_damaged() {
    for damage in DAMAGE {
        let world = World::new();
        for file in ["var/lib/misc/hostward.db", "var/lib/hostward/denied.json"] {
            world.write(file, damage);
        }
        for user in ["root", "local", "nobody-knows", "", "a:b", "alice"] {
            for service in ["sshd", "sudo", "cron", "x"] {
                let pam = Fake::of(service, user);
                assert_eq!(account(&pam, &world.host, false), Answer::Ignore, "{user}");
                assert_eq!(make_home(&pam, &world.host, false), Answer::Ignore, "{user}");
                assert_eq!(opened(&pam, &world.host), Answer::Ignore, "{user}");
                assert_eq!(closed(&pam, &world.host), Answer::Ignore, "{user}");
                assert_eq!(*pam.told.borrow(), [""; 0]);
            }
        }
        assert_eq!(fs::read_dir(world.path("home")).expect("listed").count(), 0);
    }
    let world = World::new();
    let pam = Fake { user: None, ..Fake::of("sshd", "") };
    assert_eq!(account(&pam, &world.host, false), Answer::Ignore);
    // Without the local files nobody is known to be managed.
    fs::remove_file(world.path("etc/passwd")).expect("removed");
    assert_eq!(account(&Fake::of("sshd", "bob"), &world.host, false), Answer::Ignore);
}

#[test]
fn a_local_user_is_local_whatever_root_and_the_database_say_of_the_name() {
    let world = World::new();
    world.write("etc/passwd", format!("{PASSWD}bob:x:1002:1002::/home/bob:/bin/sh\n").as_bytes());
    world.deny("bob", 70002, Reason::Suspended, None);
    assert_eq!(account(&Fake::of("su", "bob"), &world.host, false), Answer::Ignore);
    assert_eq!(make_home(&Fake::of("su", "bob"), &world.host, false), Answer::Ignore);
    assert_eq!(world.records().len(), 0);
}

#[test]
fn who_may_not_come_in_is_told_why_and_it_is_recorded() {
    let world = World::new();
    assert_eq!(account(&Fake::of("sshd", "alice"), &world.host, false), Answer::Ignore);
    let bob = Fake::of("sudo", "bob");
    assert_eq!(account(&bob, &world.host, false), Answer::Denied);
    let said = "hostward: no grant lets bob in on this host at this time since 1970-01-01 00:16:40 UTC";
    assert_eq!(*bob.told.borrow(), [said]);
    world.deny("bob", 70002, Reason::Expired, Some(1000));
    let bob = Fake::of("cron", "bob");
    assert_eq!(account(&bob, &world.host, true), Answer::Expired);
    assert_eq!(*bob.told.borrow(), [""; 0], "PAM_SILENT");
    world.deny("carol-who-left", 70003, Reason::Suspended, None);
    let carol = Fake::of("su", "carol-who-left");
    assert_eq!(account(&carol, &world.host, false), Answer::Denied);
    assert_eq!(*carol.told.borrow(), ["hostward: the user carol-who-left is suspended"]);
    let denied: Vec<_> = world.records().iter().map(|record| (record.user.clone(), record.what)).collect();
    let what = |reason, until| What::Denied { reason, until };
    assert_eq!(
        denied,
        [
            ("bob".into(), what(Reason::OutsideWindow, Some(1000))),
            ("bob".into(), what(Reason::Expired, Some(1000))),
            ("carol-who-left".into(), what(Reason::Suspended, None)),
        ]
    );
}

#[test]
fn a_session_is_recorded_from_its_beginning_to_its_end() {
    let world = World::new();
    let alice = Fake::of("sshd", "alice");
    opened(&alice, &world.host);
    // Who left meanwhile was managed when the session began.
    fs::remove_file(world.path("var/lib/misc/hostward.db")).expect("removed");
    closed(&alice, &world.host);
    let [begin, end] = world.records().try_into().expect("two");
    let What::Opened(session) = begin.what else { panic!("{begin:?}") };
    assert_eq!(end.what, What::Closed(Some(session)));
    for record in [&begin, &end] {
        assert_eq!((record.user.as_str(), record.uid, record.managed), ("alice", Some(70001), true));
        assert_eq!(record.tty.as_deref(), Some("pts/3"));
        assert_eq!(record.ruser, None);
        assert_eq!(record.xdg_session.as_deref(), Some("7"));
        assert_eq!(record.auth.as_deref(), Some("publickey ssh-ed25519 AAAA\n"));
    }
    assert_ne!(begin.id, end.id);
    let current = world.path("var/lib/hostward/records/current");
    let is_the_agent_s_to_read = || {
        let file = fs::metadata(&current).expect("there");
        assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o640, 0, 4242));
    };
    is_the_agent_s_to_read();
    // As a crash would leave it that came right after it was made.
    fs::set_permissions(&current, fs::Permissions::from_mode(0o600)).expect("a mode");
    std::os::unix::fs::chown(&current, None, Some(0)).expect("a group");
    opened(&alice, &world.host);
    is_the_agent_s_to_read();
}

#[test]
fn of_local_users_sessions_by_hand_are_recorded_and_of_managed_ones_all() {
    let world = World::new();
    for (service, user) in [
        ("sshd", "local"),
        ("cron", "local"),
        ("systemd-user", "local"),
        ("sudo", "root"),
        ("cron", "alice"),
        ("other", "nobody-knows"),
    ] {
        opened(&Fake::of(service, user), &world.host);
        closed(&Fake { kept: Cell::default(), ..Fake::of(service, user) }, &world.host);
    }
    let seen: Vec<_> = world.records().iter().map(|r| (r.service.clone(), r.user.clone(), r.uid)).collect();
    let twice = |service: &str, user: &str, uid| [(); 2].map(|()| (service.into(), user.into(), Some(uid)));
    let wanted = [twice("sshd", "local", 1000), twice("sudo", "root", 0), twice("cron", "alice", 70001)];
    assert_eq!(seen, wanted.concat());
}

#[test]
fn what_the_disk_does_not_take_goes_to_memory_and_what_that_does_not_is_counted() {
    let world = World::new();
    let open = || _ = opened(&Fake::of("sshd", "alice"), &world.host);
    let current = world.path("var/lib/hostward/records/current");
    let spilt = || world.records_of("run/hostward/records/spill").len();
    // What is not a file of root's alone is not written to.
    symlink("/dev/null", &current).expect("a link");
    open();
    fs::remove_file(&current).expect("removed");
    assert!(Command::new("mkfifo").arg(&current).status().expect("runs").success());
    open();
    fs::remove_file(&current).expect("removed");
    fs::write(&current, "").expect("written");
    fs::set_permissions(&current, fs::Permissions::from_mode(0o666)).expect("a mode");
    open();
    assert_eq!(spilt(), 3);
    // Full.
    fs::set_permissions(&current, fs::Permissions::from_mode(0o640)).expect("a mode");
    let file = fs::OpenOptions::new().write(true).open(&current).expect("opened");
    file.set_len(40 << 20).expect("a size");
    account(&Fake::of("sshd", "bob"), &world.host, true);
    assert_eq!(spilt(), 4, "denials stop earlier");
    file.set_len(64 << 20).expect("a size");
    open();
    assert_eq!(spilt(), 5);
    // Neither.
    let spill =
        fs::OpenOptions::new().write(true).open(world.path("run/hostward/records/spill")).expect("opened");
    spill.set_len(4 << 20).expect("a size");
    open();
    open();
    let lost = fs::read(world.path("run/hostward/records/lost")).expect("a number");
    assert_eq!(lost.len(), 4096);
    assert_eq!(lost.first_chunk::<8>().map(|number| u64::from_ne_bytes(*number)), Some(2));
    // No directory at all.
    fs::remove_dir_all(world.path("run/hostward")).expect("removed");
    open();
}

#[test]
fn a_line_that_was_cut_swallows_no_other() {
    let world = World::new();
    let current = world.path("var/lib/hostward/records/current");
    fs::write(&current, "{\"v\":1,\"id\"").expect("written");
    fs::set_permissions(&current, fs::Permissions::from_mode(0o640)).expect("a mode");
    opened(&Fake::of("sshd", "alice"), &world.host);
    opened(&Fake::of("sshd", "alice"), &world.host);
    let lines = fs::read_to_string(&current).expect("text");
    let sound: Vec<bool> = lines.lines().map(|line| Record::parse(line.as_bytes()).is_ok()).collect();
    assert_eq!(sound, [false, true, true]);
}

#[test]
fn a_home_is_the_skeleton_s_copy_and_its_owner_s_alone() {
    let world = World::new();
    let skel = |path: &str| world.path("etc/skel").join(path);
    fs::write(skel(".profile"), "hello").expect("written");
    fs::write(skel("tool"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(skel("tool"), fs::Permissions::from_mode(0o6755)).expect("a mode");
    fs::create_dir(skel("dir")).expect("a directory");
    fs::write(skel("dir/deep"), "deep").expect("written");
    symlink("/etc/shadow", skel("link")).expect("a link");
    assert!(Command::new("mkfifo").arg(skel("fifo")).status().expect("runs").success());
    assert_eq!(make_home(&Fake::of("sshd", "alice"), &world.host, false), Answer::Success);
    let of = |path: &str| {
        let path = world.path("home/alice").join(path);
        let status = fs::symlink_metadata(path).expect("there");
        (status.mode() & 0o7777, status.uid(), status.gid())
    };
    assert_eq!(of(""), (0o700, 70001, 70001));
    assert_eq!(of(".profile"), (0o600, 70001, 70001));
    assert_eq!(of("tool"), (0o700, 70001, 70001), "neither setuid nor setgid");
    assert_eq!(of("dir"), (0o700, 70001, 70001));
    assert_eq!(of("dir/deep"), (0o600, 70001, 70001));
    assert_eq!((of("link").1, of("link").2), (70001, 70001));
    assert_eq!(fs::read_link(world.path("home/alice/link")).expect("a link"), PathBuf::from("/etc/shadow"));
    assert!(!world.path("home/alice/fifo").exists());
    assert_eq!(fs::read_dir(world.path("home")).expect("listed").count(), 1);
    // What is there is left as it is.
    fs::remove_file(world.path("home/alice/.profile")).expect("removed");
    assert_eq!(make_home(&Fake::of("cron", "alice"), &world.host, false), Answer::Ignore);
    assert!(!world.path("home/alice/.profile").exists());
}

#[test]
fn a_home_is_not_made_where_others_can_write_nor_from_a_skeleton_without_bound() {
    let world = World::new();
    let home =
        |mode| fs::set_permissions(world.path("home"), fs::Permissions::from_mode(mode)).expect("a mode");
    home(0o1777);
    let alice = Fake::of("su-l", "alice");
    assert_eq!(make_home(&alice, &world.host, false), Answer::SessionFailed);
    let said = "hostward: cannot make the home `/home/alice`: `/home` is not a directory of root's that only root may write to";
    assert_eq!(*alice.told.borrow(), [said]);
    home(0o755);
    let big = fs::File::create(world.path("etc/skel/big")).expect("made");
    big.set_len(65 << 20).expect("a size");
    assert_eq!(make_home(&alice, &world.host, false), Answer::SessionFailed);
    assert_eq!(fs::read_dir(world.path("home")).expect("listed").count(), 0, "nothing is left");
    fs::remove_file(world.path("etc/skel/big")).expect("removed");
    let deep: PathBuf = (0..40).map(|_| "d").collect();
    fs::create_dir_all(world.path("etc/skel").join(deep)).expect("made");
    assert_eq!(make_home(&alice, &world.host, false), Answer::SessionFailed);
    assert_eq!(fs::read_dir(world.path("home")).expect("listed").count(), 0, "nothing is left");
    // A link that root made leads to where homes are.
    fs::remove_dir_all(world.path("etc/skel")).expect("removed");
    fs::rename(world.path("home"), world.path("srv")).expect("moved");
    symlink("srv", world.path("home")).expect("a link");
    assert_eq!(make_home(&alice, &world.host, false), Answer::Success);
    assert!(world.path("srv/alice").is_dir(), "without a skeleton it is empty");
}

#[test]
fn what_a_crash_left_goes_and_what_somebody_works_on_stays() {
    let world = World::new();
    let leftover = |name: &str| {
        let path = world.path("home").join(name);
        fs::create_dir_all(path.join("a/b")).expect("made");
        symlink(world.path("etc/passwd"), path.join("a/link")).expect("a link");
        path
    };
    let left = leftover(".hostward-new-70001-00000000000000000000000000000000");
    let locked = leftover(".hostward-new-70001-00000000000000000000000000000001");
    let another = leftover(".hostward-new-700011-00000000000000000000000000000000");
    let held = fs::File::open(&locked).expect("opened");
    held.lock().expect("locked");
    assert_eq!(make_home(&Fake::of("sshd", "alice"), &world.host, false), Answer::Success);
    assert!(!left.exists() && locked.exists() && another.exists());
    assert!(world.path("etc/passwd").exists());
}

#[test]
fn of_two_at_once_one_makes_the_home_and_both_find_it() {
    let world = World::new();
    for number in 0..200 {
        fs::write(world.path(&format!("etc/skel/{number}")), "content").expect("written");
    }
    for _ in 0..20 {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let host = &world.host;
            let one = || scope.spawn(move || make_home(&Fake::of("sshd", "alice"), host, false));
            let both = [one(), one(), one()];
            both.map(|one| one.join().expect("no panic")).into()
        });
        assert!(answers.iter().all(|answer| *answer != Answer::SessionFailed), "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| **answer == Answer::Success).count(), 1, "{answers:?}");
        assert_eq!(fs::read_dir(world.path("home/alice")).expect("listed").count(), 200);
        assert_eq!(fs::read_dir(world.path("home")).expect("listed").count(), 1);
        fs::remove_dir_all(world.path("home/alice")).expect("removed");
    }
}

#[test]
fn a_panic_is_ignored() {
    assert_eq!(caught(|| panic!("of a test")), Answer::Ignore);
    assert_eq!(caught(|| Answer::Denied), Answer::Denied);
}
