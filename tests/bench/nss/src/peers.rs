//! Other modules, each with the same accounts in the form that it wants.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::people::People;

/// The accounts, and where there is room for what is made of them.
#[derive(Debug)]
pub struct Lists<'a> {
    pub people: &'a People,
    pub data: &'a Path,
    /// Where our module is.
    pub libraries: &'a Path,
    /// As `/etc/passwd` has them.
    pub passwd: String,
    /// As `/etc/group` has them.
    pub group: String,
}

/// What a module reads, and whom it asks.
#[derive(Debug)]
pub struct Peer {
    /// File or directory, and the path of the machine's that it is seen at.
    pub binds: Vec<(PathBuf, &'static str)>,
    pub daemon: Option<Daemon>,
}

type Prepare = fn(&Lists) -> Result<Peer>;

/// All that are known, by their words in `nsswitch.conf`.
pub const ALL: [(&str, Prepare); 6] = [
    ("extrausers", extrausers),
    ("db", db),
    ("cache", cache),
    ("systemd", systemd),
    ("sss", sss),
    ("ldap", |_| {
        ensure_installed("ldap")?;
        bail!("not measured: each lookup is a question to nslcd, which asks a directory server")
    }),
];

fn ensure_installed(service: &str) -> Result<()> {
    ensure!(library(&format!("libnss_{service}.so.2")), "not installed");
    Ok(())
}

/// Whether the machine has a library of this name, or of this path below one of the directories of libraries.
fn library(path: &str) -> bool {
    let directories = [
        "/usr/lib/x86_64-linux-gnu",
        "/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    directories.iter().any(|directory| Path::new(directory).join(path).exists())
}

fn reads(own: PathBuf, place: &'static str) -> Peer {
    Peer { binds: vec![(own, place)], daemon: None }
}

fn extrausers(lists: &Lists) -> Result<Peer> {
    ensure_installed("extrausers")?;
    let place = "/var/lib/extrausers";
    ensure!(Path::new(place).is_dir(), "not installed");
    let own = lists.data.join("extrausers");
    fs::create_dir_all(&own)?;
    fs::write(own.join("passwd"), &lists.passwd)?;
    fs::write(own.join("group"), &lists.group)?;
    fs::write(own.join("shadow"), "")?;
    Ok(reads(own, place))
}

/// glibc's, made by its `makedb`.
fn db(lists: &Lists) -> Result<Peer> {
    ensure_installed("db")?;
    let own = lists.data.join("db");
    fs::create_dir_all(&own)?;
    for (name, text) in [("passwd", &lists.passwd), ("group", &lists.group)] {
        let mut lines = String::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
            lines.push_str(&format!(".{name} {line}\n={id} {line}\n"));
        }
        let input = lists.data.join("makedb.in");
        fs::write(&input, lines)?;
        let mut makedb = Command::new("makedb");
        makedb.args(["--quiet", "-o"]).arg(own.join(format!("{name}.db"))).arg(&input).stderr(Stdio::null());
        ensure!(makedb.status().context("no makedb")?.success(), "makedb failed");
    }
    // Debian's glibc looks here, others in /var/db.
    Ok(reads(own, "/var/lib/misc"))
}

/// Google's libnss-cache, with sorted indexes beside the lists. All of /etc is copied, so that files can be added to it.
fn cache(lists: &Lists) -> Result<Peer> {
    ensure_installed("cache")?;
    let own = lists.data.join("etc");
    if !own.exists() {
        let copied = Command::new("cp").args(["--archive", "/etc"]).arg(&own).status()?;
        ensure!(copied.success(), "/etc cannot be copied");
    }
    for (name, text, id) in [("passwd", &lists.passwd, "uid"), ("group", &lists.group, "gid")] {
        fs::write(own.join(format!("{name}.cache")), text)?;
        for (index, field) in [("name", 0), (id, 2)] {
            fs::write(own.join(format!("{name}.cache.ix{index}")), sorted(text, field))?;
        }
    }
    Ok(reads(own, "/etc"))
}

/// Lines of one length: key, NUL, offset of the line that has it, and NULs.
fn sorted(text: &str, field: usize) -> Vec<u8> {
    let (mut lines, mut at) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        lines.push((line.split(':').nth(field).unwrap_or_default(), at.to_string()));
        at += line.len();
    }
    lines.sort();
    let longest = lines.iter().map(|(key, at)| key.len() + at.len() + 1).max().unwrap_or_default();
    let line = |(key, at): &(&str, String)| {
        let mut line = [key.as_bytes(), b"\0", at.as_bytes()].concat();
        line.resize(longest + 1, 0);
        line.push(b'\n');
        line
    };
    lines.iter().flat_map(line).collect()
}

fn ensure_at_most(most: usize, people: &People) -> Result<()> {
    ensure!(people.users.len() <= most, "not measured with more than {most} users: it takes too long");
    Ok(())
}

/// Drop-ins of systemd-userdb (nss-systemd(8)): a file for each account, links by their ids, and a file for each membership.
/// Nothing else is in its /run, so that the module reads them itself and asks no service.
fn systemd(lists: &Lists) -> Result<Peer> {
    // As many as a file may have on any file system.
    const LINKS: usize = 30_000;
    ensure_installed("systemd")?;
    ensure_at_most(1_000, lists.people)?;
    let own = lists.data.join("run");
    if own.exists() {
        fs::remove_dir_all(&own)?;
    }
    let place = own.join("userdb");
    fs::create_dir_all(&place)?;
    let (people, mut memberships) = (lists.people, 0);
    for user in &people.users {
        let record = serde_json::json!({
            "userName": user.name, "uid": user.uid, "gid": user.gid, "realName": user.gecos,
            "homeDirectory": user.home, "shell": user.shell, "disposition": "regular",
        });
        let file = format!("{}.user", user.name);
        fs::write(place.join(&file), record.to_string())?;
        symlink(&file, place.join(format!("{}.user", user.uid)))?;
    }
    for group in &people.groups {
        let record = serde_json::json!({"groupName": group.name, "gid": group.gid, "disposition": "regular"});
        let file = format!("{}.group", group.name);
        fs::write(place.join(&file), record.to_string())?;
        symlink(&file, place.join(format!("{}.group", group.gid)))?;
        for member in &group.members {
            // An empty file would say that there is none.
            let content = own.join(format!("membership-{}", memberships / LINKS));
            if memberships % LINKS == 0 {
                fs::write(&content, "{}\n")?;
            }
            memberships += 1;
            let name = &people.users[*member as usize].name;
            fs::hard_link(&content, place.join(format!("{name}:{}.membership", group.name)))?;
        }
    }
    Ok(reads(own, "/run"))
}

/// SSSD, whose module looks into the memory cache before it asks the daemon. What the daemon knows it has from our module, by
/// its proxy to others.
fn sss(lists: &Lists) -> Result<Peer> {
    const STATE: &str = "/var/lib/sss";
    ensure_installed("sss")?;
    let sssd = Path::new("/usr/sbin/sssd");
    ensure!(
        sssd.exists() && library("sssd/libsss_proxy.so"),
        "not measured: it needs sssd and its proxy (sssd-proxy)"
    );
    ensure_at_most(10_000, lists.people)?;
    let own = lists.data.join("sss");
    if own.exists() {
        fs::remove_dir_all(&own)?;
    }
    for name in ["run", "log"] {
        fs::create_dir_all(own.join(name))?;
    }
    // With their owners, which differ between versions of it.
    for (from, name) in [(STATE, "state"), ("/etc/sssd", "etc")] {
        let copied = Command::new("cp").arg("--archive").arg(from).arg(own.join(name)).status()?;
        ensure!(copied.success(), "`{from}` cannot be copied");
    }
    for name in ["db", "mc", "pipes", "pipes/private"] {
        for entry in fs::read_dir(own.join("state").join(name))? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
    }
    let configuration = own.join("etc/sssd.conf");
    fs::write(&configuration, SSSD)?;
    fs::set_permissions(&configuration, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let binds = vec![
        (own.join("state"), STATE),
        (own.join("etc"), "/etc/sssd"),
        (own.join("run"), "/run"),
        (own.join("log"), "/var/log/sssd"),
        (lists.data.join("misc"), "/var/lib/misc"),
    ];
    let daemon = Daemon::start(sssd, &["-i"], &binds, lists.libraries, own.join("said"))?;
    let socket = own.join("state/pipes/nss");
    let begun = Instant::now();
    while !socket.exists() {
        ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "sssd does not answer: see `{}`",
            own.join("said").display()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(Peer { binds: vec![(own.join("state"), STATE)], daemon: Some(daemon) })
}

/// Nothing in it expires while it is measured.
const SSSD: &str = "\
[sssd]
services = nss
domains = bench
enable_files_domain = false

[nss]
memcache_timeout = 36000
memcache_size_passwd = 64
memcache_size_group = 64
memcache_size_initgroups = 64

[domain/bench]
id_provider = proxy
proxy_lib_name = hostward
proxy_fast_alias = true
auth_provider = none
chpass_provider = none
access_provider = permit
entry_cache_timeout = 36000
timeout = 60
";

/// A peer's daemon, in a mount namespace of its own. It ends with this.
#[derive(Debug)]
pub struct Daemon(Child);

impl Daemon {
    fn start(
        program: &Path,
        arguments: &[&str],
        binds: &[(PathBuf, &str)],
        libraries: &Path,
        said: PathBuf,
    ) -> Result<Self> {
        let mut script = String::from("set -e\n");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private", "sh", "-c"]);
        for n in 0..binds.len() {
            script.push_str(&format!("mount --bind \"${{{}}}\" \"${{{}}}\"\n", 2 * n + 1, 2 * n + 2));
        }
        script.push_str(&format!("shift {}\nexec \"$@\"\n", 2 * binds.len()));
        command.args([&script, "sh"]);
        for (from, to) in binds {
            command.arg(from).arg(to);
        }
        command.arg(program).args(arguments).env("LD_LIBRARY_PATH", libraries).stdin(Stdio::null());
        let said = fs::File::create(said)?;
        command.stdout(said.try_clone()?).stderr(said);
        Ok(Daemon(command.spawn().context("cannot be started")?))
    }
}

impl Drop for Daemon {
    /// It ends its own children, if it is let.
    fn drop(&mut self) {
        let _told = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
