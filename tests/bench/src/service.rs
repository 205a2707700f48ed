//! Service users: what an ssh waits for, what it costs everybody else, and how much the agent bears.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use hostward_host_tests::{Fixture, Host, Release, SOON, StepCa, TEAM, new_lab, wait_for};

use crate::figures::{Table, kib};

const SCRIPT: &str = include_str!("service.py");
/// Who logs in, and the first of the uids that only ask.
const JENKINS: u32 = 112;
const FIRST: u32 = 3000;
/// How many uids ask the backend, and how many the step-ca; each for one certificate.
const ASKING: u32 = 200;
const CROWD: u32 = 1000;
const COLD: usize = 20;
const WARM: usize = 50;
const PAIRS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(300);

/// A host whose accounts are bound to the backend, one that it goes to, and a step-ca for more accounts.
pub fn measure(table: &mut Table, release: Release) -> Result<()> {
    let lab = new_lab();
    let ca = StepCa::start(&lab);
    let configuration = format!("[labels]\nrole = \"ci\"\n{}", ca.configuration(&of_step_ca()));
    let ci = Fixture::on(&lab, release).name("ci").team(&team()).configuration(&configuration).boot();
    ci.host.must("useradd --system --uid 112 --create-home jenkins && useradd --create-home olga");
    ci.host.write("/etc/hostward/step-ca.password", 0o600, "root:root", StepCa::PASSWORD);
    ci.host.must(
        "install -D -m 0644 /usr/share/doc/hostward/examples/step-ca.conf \
         /etc/systemd/system/hostward.service.d/step-ca.conf && systemctl daemon-reload && systemctl restart hostward",
    );
    ci.enroll();
    let web1 = ci.beside("web1", "[labels]\nrole = \"web\"\n");
    ci.host.write("/opt/service.py", 0o644, "root:root", SCRIPT);
    ci.host.wait_until_ok(SOON, "runuser -u jenkins -- ssh -o ConnectTimeout=5 web1 true");

    logins(table, &ci.host, &web1);
    others(table, &ci.host);
    crowd(table, &ci.host);
    issues(table, &ci.host);
    drop(web1);
    Ok(())
}

/// `hosts` of no host: they only ask for certificates.
fn of_step_ca() -> String {
    let mut text = String::new();
    for uid in FIRST + ASKING..FIRST + 2 * ASKING {
        let _infallible =
            writeln!(text, "[[step_ca.services]]\nuid = {uid}\nuser = \"deploy\"\nhosts = [\"none\"]\n");
    }
    text
}

fn team() -> String {
    let mut text = format!(
        "{TEAM}\n[users.deploy]\nuid = 70100\n\n[groups.deployers]\ngid = 71100\nmembers = [\"deploy\"]\n\n\
         [[grants]]\ngroup = \"deployers\"\nhosts = \"labels.role = web\"\nlogin = true\n"
    );
    for uid in std::iter::once(JENKINS).chain(FIRST..FIRST + ASKING) {
        let _infallible =
            writeln!(text, "[[services]]\nuser = \"deploy\"\nhosts = \"labels.role = ci\"\nuid = {uid}\n");
    }
    text
}

/// What the script measured, a list for each figure.
fn timed(host: &Host, arguments: &str) -> Vec<Vec<f64>> {
    let said = host.run_within(PATIENCE, &format!("python3 /opt/service.py {arguments}")).expect_success();
    said.lines().map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect()).collect()
}

fn times(seconds: &[f64]) -> Vec<Duration> {
    seconds.iter().map(|seconds| Duration::from_secs_f64(seconds.max(0.0))).collect()
}

/// The agent anew: it has no certificates, and knows of no host.
fn restart(host: &Host) {
    host.must("systemctl restart hostward");
    host.wait_until_ok(SOON, "hostward status >/dev/null");
}

fn logins(table: &mut Table, host: &Host, web1: &Host) {
    let (mut certificate, mut end) = (Vec::new(), Vec::new());
    for _ in 0..COLD {
        restart(host);
        if let [got, ended] = timed(host, &format!("login {JENKINS} web1 1")).as_slice() {
            certificate.extend(times(got));
            end.extend(times(ended));
        }
    }
    table.add_times("service user, nothing known: start of ssh to certificate", certificate);
    table.add_times("service user, nothing known: all of `ssh web1 true`", end);
    if let [got, ended] = timed(host, &format!("login {JENKINS} web1 {WARM}")).as_slice() {
        table.add_times("service user, certificate there: start of ssh to certificate", times(got));
        table.add_times("service user, certificate there: all of `ssh web1 true`", times(ended));
    }
    if let [got] = timed(host, &format!("plain {JENKINS} {} {WARM}", web1.address())).as_slice() {
        table.add_times("without hostward: start of ssh to a key of OpenSSH's agent", times(got));
    }
}

fn others(table: &mut Table, host: &Host) {
    let uid = host.ok("id -u olga").trim().to_owned();
    if let [with, without, added] = timed(host, &format!("untouched {uid} {PAIRS}")).as_slice() {
        table.add_times("ssh of another account, to its end, with 50-hostward.conf", times(with));
        table.add_times("ssh of another account, to its end, without it", times(without));
        let mut added = added.clone();
        added.sort_by(f64::total_cmp);
        let at = |part: usize| added.get(added.len() * part / 4).copied().unwrap_or_default() * 1000.0;
        let figure =
            format!("median {:.3} ms, quartiles {:.3} and {:.3} ms of {PAIRS} pairs", at(2), at(1), at(3));
        table.add("ssh of another account: added by 50-hostward.conf, paired", figure);
    }
}

fn crowd(table: &mut Table, host: &Host) {
    restart(host);
    let _warm = timed(host, &format!("login {JENKINS} web1 1"));
    let before = resident(host);
    let crowd = host
        .spawn(&format!("ulimit -n {} && exec python3 /opt/service.py crowd {JENKINS} {CROWD}", CROWD + 64));
    wait_for(SOON, "the crowd", || match crowd.stdout() {
        said if said == "listed\n" => Ok(()),
        said => Err(format!("{said}{}", crowd.stderr())),
    });
    let with = resident(host);
    table.add("hostward-agent: resident with one bound account", kib(before));
    table.add(&format!("hostward-agent: resident with {CROWD} connections that have listed"), kib(with));
}

fn resident(host: &Host) -> u64 {
    let status = host.ok("cat /proc/$(systemctl show -P MainPID hostward.service)/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn issues(table: &mut Table, host: &Host) {
    for (issuer, first) in [("backend", FIRST), ("step-ca", FIRST + ASKING)] {
        for at_once in [1, 16] {
            restart(host);
            let took = timed(host, &format!("issue {first} {ASKING} {at_once}"));
            let seconds = took.first().and_then(|line| line.first()).copied().unwrap_or(f64::NAN);
            let figure = format!("{:.0} a second", f64::from(ASKING) / seconds);
            table.add(&format!("certificates of the {issuer}, {at_once} accounts at once"), figure);
        }
    }
}
