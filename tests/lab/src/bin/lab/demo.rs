//! The whole story on one throwaway host: from a bare Debian to enrolled, used, cut off, and back to bare.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hostward_lab::{Backend, Background, Host, Lab, Release, built_package};

use crate::stage;
use crate::story::Expect::{Refusal, Success};
use crate::story::Story;

const SOON: Duration = Duration::from_secs(30);

/// What ldconfig and the tools that edit account files rewrite; the account files themselves must be as before.
const REWRITTEN: &[&str] =
    &["/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/ld.so.cache"];

/// What the summary tells.
struct Measured {
    boot: Duration,
    accounts: Duration,
    ended: Duration,
}

/// Tells it, and leaves nothing running.
pub fn run(release: Release) -> Result<()> {
    let began = Instant::now();
    let package = built_package()?;
    let lab = Lab::new()?;
    let laptop = stage::laptop(&lab)?;
    let mut story = Story::new(&lab, &laptop);

    story.chapter("A Debian host and a backend");
    let booting = Instant::now();
    let host = lab.host(stage::HOST, release).boot()?;
    let boot = booting.elapsed();
    let before = host.snapshot_etc().without(REWRITTEN);
    story.say(&format!(
        "{} booted in {:.1} s, with systemd, sshd, sudo and cron",
        host.name(),
        boot.as_secs_f64()
    ));
    story.on(
        &host,
        Success,
        "grep PRETTY_NAME /etc/os-release; grep -E '^(passwd|group|shadow)' /etc/nsswitch.conf",
    )?;
    story.on(&host, Refusal, "getent passwd alice")?;
    let mut backend = lab.backend(stage::TEAM)?;
    story.say(&format!("the backend {} publishes this team, signed:", backend.url()));
    for line in stage::TEAM.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        println!("      {line}");
    }

    story.chapter("One package");
    story.say("where its backend is, as configuration management or an image would have it:");
    stage::configure(&host, &backend);
    story.on(&host, Success, "cat /etc/hostward/hostward.toml")?;
    host.write("/root/hostward.deb", 0o644, "root:root", std::fs::read(&package)?);
    story.on(
        &host,
        Success,
        "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install /root/hostward.deb 2>/dev/null",
    )?;
    story.on(&host, Success, "systemctl list-units --no-legend --plain 'hostward*'; grep -E '^(passwd|group|shadow)' /etc/nsswitch.conf")?;

    story.chapter("One token");
    let token = story.show("backend$", "hostward-mock-backend token", backend.run(&["token"]))?;
    let enrolling = Instant::now();
    story.on_with_input(&host, "hostward enroll", &token)?;
    host.wait_until_ok(SOON, "getent passwd alice");
    let accounts = enrolling.elapsed();
    story.on(&host, Success, "hostward status")?;

    story.chapter("The right people are known to the host");
    story.on(&host, Success, "getent passwd alice bob && getent group admins developers && id alice")?;
    story.on(&host, Success, "hostward explain alice")?;

    log_in(&mut story, &backend)?;
    let ended = leave(&mut story, &backend, &host)?;
    outage(&mut story, &mut backend, &host)?;

    story.chapter("The package is purged, and the host is as before");
    story.on(
        &host,
        Success,
        "DEBIAN_FRONTEND=noninteractive apt-get -qq --yes -o Dpkg::Use-Pty=0 purge hostward 2>/dev/null",
    )?;
    story.on(&host, Refusal, "getent passwd alice")?;
    story.on(&host, Success, "ls -ln /home")?;
    let changes = before.changes(&host.snapshot_etc().without(REWRITTEN));
    ensure!(changes.is_empty(), "/etc is not as before:\n{}", changes.join("\n"));
    story.say(&format!(
        "/etc: {} entries compared with those before the installation, none differs",
        before.0.len()
    ));

    let heading = story.heading("In short");
    drop(host);
    drop(backend);
    lab.remove()?;
    summary(&heading, &Measured { boot, accounts, ended }, began.elapsed());
    Ok(())
}

fn log_in(story: &mut Story<'_>, backend: &Backend<'_>) -> Result<()> {
    story.chapter("A login with a certificate that lives three minutes");
    story.on_laptop(Success, "ssh-keygen -q -t ed25519 -N '' -C laptop -f alice")?;
    sign(story, backend, "alice")?;
    story.on_laptop(Success, "ssh-keygen -L -f alice-cert.pub | grep -E 'Key ID|Serial|Valid|^ +alice'")?;
    story.on_laptop(Success, "ssh -F ssh_config -i alice alice@web1 'id; pwd'")?;
    story.say("the same key without the certificate:");
    story.on_laptop(Success, "mkdir -p bare && cp alice alice.pub bare/")?;
    story.on_laptop(Refusal, "ssh -F ssh_config -i bare/alice alice@web1 id")?;

    story.chapter("Exactly the sudo commands that the project grants");
    story.on_laptop(Success, "ssh -F ssh_config -i alice alice@web1 sudo -n -l")?;
    story.on_laptop(
        Success,
        "ssh -F ssh_config -i alice alice@web1 'sudo -n service cron restart && echo allowed'",
    )?;
    story.on_laptop(Refusal, "ssh -F ssh_config -i alice alice@web1 sudo -n cat /etc/shadow")?;
    Ok(())
}

/// Takes alice's grants away while she is logged in; returns how long it took until her session ended.
fn leave(story: &mut Story<'_>, backend: &Backend<'_>, host: &Host) -> Result<Duration> {
    story.chapter("Leaving takes effect at once, open sessions included");
    let mut session = open_session(story, host);
    story.on(
        host,
        Success,
        "loginctl list-sessions --no-legend; ps -o user,args -u alice | grep -v systemd",
    )?;
    story.say("alice is taken out of both groups on the backend:");
    let team = stage::TEAM
        .replace("members = [\"alice\"]", "members = []")
        .replace("members = [\"alice\", \"bob\"]", "members = [\"bob\"]");
    story.say("members = [\"alice\"]         ->  members = []");
    story.say("members = [\"alice\", \"bob\"]  ->  members = [\"bob\"]");
    let left = Instant::now();
    backend.set_team(&team)?;
    let end = session.wait(SOON);
    let ended = left.elapsed();
    ensure!(!end.success(), "her session ended by itself: {end}");
    story.say(&format!("her session ended {} ms after the file was saved", ended.as_millis()));
    host.wait_until_ok(SOON, "! getent passwd alice && ! pgrep -u 70001");
    story.say(&format!("everything of hers was gone after {} ms", left.elapsed().as_millis()));
    story.on(host, Refusal, "getent passwd alice || pgrep -l -u 70001")?;
    sign(story, backend, "alice")?;
    story.on_laptop(Refusal, "ssh -F ssh_config -i alice alice@web1 id")?;
    story.on(host, Success, "getent passwd bob")?;
    story.say("and back again:");
    backend.publish(stage::TEAM);
    host.wait_until_ok(SOON, "getent passwd alice");
    story.on_laptop(Success, "ssh -F ssh_config -i alice alice@web1 'id -un; ls -ld ~'")?;
    Ok(ended)
}

fn open_session(story: &Story<'_>, host: &Host) -> Background {
    let session =
        story.open_on_laptop("ssh -F ssh_config -tt -i alice alice@web1 'echo logged in; exec sleep 600'");
    host.wait_for(SOON, "alice's session", |_| {
        if session.stdout().contains("logged in") { Ok(()) } else { Err(session.stderr()) }
    });
    session
}

fn outage(story: &mut Story<'_>, backend: &mut Backend<'_>, host: &Host) -> Result<()> {
    story.chapter("The backend is gone, and hostward's own processes too: logins and sudo go on");
    sign(story, backend, "alice")?;
    backend.stop();
    story.say("the backend is stopped");
    story.on_laptop(
        Success,
        "ssh -F ssh_config -i alice alice@web1 'id -un; sudo -n service cron restart && echo allowed'",
    )?;
    story.on(host, Success, "systemctl stop hostward-drift.timer hostward.service hostward.socket hostward-ssh-agent.socket hostward-apply.socket hostward-apply.service && ! pgrep -l hostward")?;
    story.on_laptop(
        Success,
        "ssh -F ssh_config -i alice alice@web1 'id -un; sudo -n service cron restart && echo allowed'",
    )?;
    story.on(
        host,
        Success,
        "systemctl start hostward-apply.socket hostward.socket hostward-ssh-agent.socket hostward.service hostward-drift.timer",
    )?;
    backend.start();
    story.say("the backend is started again");
    Ok(())
}

/// The certificate appears next to the key on the laptop.
fn sign(story: &Story<'_>, backend: &Backend<'_>, user: &str) -> Result<()> {
    let public = story.laptop().join(format!("{user}.pub"));
    let output =
        backend.run(&["sign-key", "--user", user, "--ttl", "3m", "--pubkey", &public.to_string_lossy()]);
    story.show(
        "backend$",
        &format!("hostward-mock-backend sign-key --user {user} --ttl 3m --pubkey {user}.pub"),
        output,
    )?;
    Ok(())
}

fn summary(heading: &str, measured: &Measured, whole: Duration) {
    println!(
        "\n{}\n   \
         the host booted in                          {:>6} ms\n   \
         from the token to accounts in place         {:>6} ms\n   \
         from the change to the end of her session   {:>6} ms\n   \
         the whole story                             {:>6.1} s\n   \
         Nothing is left running. `make lab` starts such a host to explore; `make test` runs all tests.",
        heading,
        measured.boot.as_millis(),
        measured.accounts.as_millis(),
        measured.ended.as_millis(),
        whole.as_secs_f64(),
    );
}
