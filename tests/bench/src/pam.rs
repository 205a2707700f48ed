//! What the PAM module adds to a login and to a sudo: with its lines and without them, in turn, on one host.

use std::time::Duration;

use anyhow::{Context, Result};
use hostward_host_tests::{Fixture, Release, new_lab, package};

use crate::figures::Table;

const TURNS: &str = include_str!("pam.py");
const PATIENCE: Duration = Duration::from_secs(3600);

/// Logs in and runs sudo `rounds` times each way.
pub fn measure(table: &mut Table, release: Release, rounds: usize) -> Result<()> {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).without_package().boot();
    let host = &fixture.host;
    host.must("cp -a /etc/pam.d /etc/pam.d.without");
    host.install(&package());
    fixture.trust_backend("");
    fixture.enroll();
    host.must("su - alice -c true");
    // A login with a key of the operator's is as good as one by certificate here, and outlives the measurement.
    let key = lab.ssh_key("local")?;
    for (path, owner, file) in [
        ("/opt/key", "root:root", key.clone()),
        ("/home/local/.ssh/authorized_keys", "local:local", key.with_extension("pub")),
    ] {
        host.must("id local >/dev/null 2>&1 || useradd --create-home --shell /bin/sh local");
        host.write(
            path,
            0o600,
            owner,
            std::fs::read(&file).with_context(|| format!("cannot read {file:?}"))?,
        );
    }
    host.must("chown -R local:local /home/local/.ssh");
    host.write("/opt/pam.py", 0o644, "root:root", TURNS);
    host.must("cp -a /etc/pam.d /etc/pam.d.with && rm -r /etc/pam.d && ln -s /etc/pam.d.with /etc/pam.d");
    let said = host.run_within(PATIENCE, &format!("python3 /opt/pam.py {rounds}")).expect_success();
    for what in ["login of a local user", "su to a managed user", "sudo of a managed user"] {
        let of = |lines: &str| -> Vec<f64> {
            let prefix = format!("{what}\t{lines}\t");
            said.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
        };
        let (with, without) = (of("with"), of("without"));
        let times = |seconds: &[f64]| seconds.iter().copied().map(Duration::from_secs_f64).collect();
        table.add_times(&format!("{what}, without the PAM module"), times(&without));
        table.add_times(&format!("{what}, with it"), times(&with));
        let mut added: Vec<f64> =
            with.iter().zip(&without).map(|(with, without)| 1000.0 * (with - without)).collect();
        added.sort_by(f64::total_cmp);
        let median = added.get(added.len() / 2).copied().unwrap_or_default();
        table.add(&format!("{what}: added in a pair, median"), format!("{median:.2} ms of {}", added.len()));
    }
    Ok(())
}
