//! Events in a real rsyslog and a real journal, and figures for whoever collects them.

use hostward_host_tests::{Fixture, SOON, edited, new_lab, on_each_release};
use serde_json::Value;

const RSYSLOG: &str = r#"
module(load="imtcp")
module(load="imudp")
input(type="imtcp" address="127.0.0.1" port="10514" ruleset="hostward")
input(type="imudp" address="127.0.0.1" port="10514" ruleset="hostward")
template(name="parsed" type="string" string="%protocol-version%|%hostname%|%app-name%|%msgid%|%syslogfacility-text%|%structured-data%|%msg%\n")
ruleset(name="hostward") { action(type="omfile" file="/var/log/received" template="parsed") }
"#;

#[track_caller]
fn ids(fixture: &Fixture<'_>) -> Vec<String> {
    let text = fixture.host.ok("hostward events --json");
    let id =
        |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().map(str::to_owned);
    text.lines().filter_map(id).collect()
}

#[track_caller]
fn wait_for_all(fixture: &Fixture<'_>, what: &str, command: &str) {
    fixture.host.wait_for(SOON, what, |host| {
        let seen = host.run(command).stdout;
        match ids(fixture).iter().find(|id| !seen.contains(&format!("\"{id}\""))) {
            None => Ok(()),
            Some(id) => Err(format!("{id} is missing\n{seen}\n{}", host.run("hostward status"))),
        }
    });
}

on_each_release! {
    fn rsyslog_reads_them_and_misses_none(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        host.must("apt-get install --quiet=2 --yes rsyslog >/dev/null 2>&1");
        host.write("/etc/rsyslog.d/hostward.conf", 0o644, "root:root", RSYSLOG);
        host.must("systemctl restart rsyslog");
        fixture.configure("[siem.syslog]\nto = \"tcp://127.0.0.1:10514\"");
        wait_for_all(&fixture, "everything in rsyslog", "cat /var/log/received");
        let received = host.ok("cat /var/log/received");
        let hostname = host.ok("hostname").trim().to_owned();
        let line = received.lines().find(|line| line.contains("hostward.account.added")).expect("an account");
        assert!(line.starts_with(&format!("1|{hostname}|hostward|account.added|authpriv|[hostward@32473 id=")), "{line}");
        assert!(line.contains(" user=\"") && line.contains("add user "), "{line}");

        // It is away for a while; nothing is lost, and the backend is not held up.
        host.must("systemctl stop rsyslog syslog.socket");
        fixture.change_team(|team| edited(team, "Alice Adams", "Alice Brown"));
        host.wait_for(SOON, "a word about it", |host| {
            let status = host.run("hostward status");
            if status.status == 1 && status.stdout.contains("events are not handed over to syslog") { Ok(()) } else { Err(status.to_string()) }
        });
        host.must("systemctl start rsyslog");
        wait_for_all(&fixture, "everything after it was away", "cat /var/log/received");
        host.wait_until_ok(SOON, "hostward status");

        // Over UDP from where it is.
        fixture.configure("[siem.syslog]\nto = \"udp://127.0.0.1:10514\"");
        fixture.change_team(|team| edited(team, "Alice Brown", "Alice Adams"));
        wait_for_all(&fixture, "everything by UDP", "cat /var/log/received");
    }

    fn the_journal_has_them_with_their_fields_and_figures_are_there(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        fixture.configure("[siem]\njournal = true\n[metrics]\ntextfile = true");
        let entries = "journalctl --output=json SYSLOG_IDENTIFIER=hostward-event _SYSTEMD_UNIT=hostward.service";
        wait_for_all(&fixture, "everything in the journal", entries);
        let text = host.ok(&format!("{entries} HOSTWARD_TYPE=hostward.account.added HOSTWARD_USER=alice"));
        let entry: Value = serde_json::from_str(text.lines().next().expect("an entry")).expect("JSON");
        assert_eq!(entry["PRIORITY"], "5", "OCSF's low");
        assert!(entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with("add user alice")), "{entry}");
        let event: Value = serde_json::from_str(entry["HOSTWARD_EVENT"].as_str().expect("text")).expect("JSON");
        assert_eq!(event["id"], entry["HOSTWARD_ID"]);

        let file = "/run/hostward/metrics/hostward.prom";
        host.wait_until_ok(SOON, &format!("grep -q '^hostward_policy_version ' {file}"));
        assert_eq!(host.ok(&format!("stat -c '%U %a' {file}")).trim(), "hostward 644");
        assert!(host.run_as("nobody", &format!("cat {file}")).success(), "whoever collects may read it");
        let version = fixture.publish(|team| edited(team, "Alice Adams", "Alice Brown"));
        host.wait_until_ok(SOON, &format!("grep -qx 'hostward_policy_version {version}' {file}"));
        fixture.configure("");
        host.wait_until_ok(SOON, &format!("test ! -e {file}"));
    }
}
