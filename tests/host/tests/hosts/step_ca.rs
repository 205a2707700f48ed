//! Certificates from a real step-ca, on a host that no backend knows: set up as docs/step-ca.md says.

use hostward_host_tests::{
    Host, Lab, Output, PACKAGE, Release, SOON, StepCa, new_lab, on_each_release, package,
};

const JENKINS: &str = "
[[step_ca.services]]
account = \"jenkins\"
user = \"deploy\"
hosts = [\"web?\", \"!web9\"]
";
const KNOWN_HOSTS: &str = "/var/lib/hostward-step-ca/known_hosts";

/// `ci` with the package and the account, and `web1` with neither, which trusts the CA.
struct Site<'lab> {
    ca: StepCa<'lab>,
    ci: Host,
    web1: Host,
}

impl<'lab> Site<'lab> {
    fn new(lab: &'lab Lab, release: Release) -> Self {
        let ca = StepCa::start(lab);
        let ci = lab.host("ci", release).boot().expect("a host");
        ci.install(&package());
        ci.must("useradd --system --uid 112 --create-home --shell /bin/bash jenkins && useradd --create-home olga");
        let web1 = lab.host("web1", release).boot().expect("a host");
        web1.must("useradd --create-home --shell /bin/bash deploy");
        ca.trusted_by(&web1);
        ci.must(&format!("echo '{} web1 web9' >>/etc/hosts", web1.address()));
        Site { ca, ci, web1 }
    }

    /// Writes `hostward.toml` and the password, and goes on as the manual says.
    fn set_up(&self, configuration: &str, password: &str) -> Output {
        self.ci.write("/etc/hostward/hostward.toml", 0o644, "root:root", configuration);
        self.ci.run_with_input(
            "install -m 0600 /dev/stdin /etc/hostward/step-ca.password
             install -D -m 0644 /usr/share/doc/hostward/examples/step-ca.conf /etc/systemd/system/hostward.service.d/step-ca.conf &&
                 systemctl daemon-reload && systemctl restart hostward && hostward apply",
            format!("{password}\n").as_bytes(),
        )
    }

    /// A command of jenkins' on ci.
    fn jenkins(&self, command: &str) -> Output {
        self.ci.run_as("jenkins", command)
    }

    /// Waits until the agent asked the CA.
    fn wait_until_asked(&self, said: &str) {
        self.ci.wait_for(SOON, said, |host| {
            let status = host.run("hostward status");
            if status.stdout.contains(said) { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// Has the agent take another time for now.
    fn shift_clock(&self, shift: Option<&str>) {
        let place = "/run/systemd/system/hostward.service.d/clock.conf";
        match shift {
            Some(shift) => {
                let library = self.ci.ok("dpkg -L libfaketime | grep '/libfaketimeMT.so.1$'");
                let dropin = format!(
                    "[Service]\nEnvironment=LD_PRELOAD={} FAKETIME={shift} FAKETIME_DONT_FAKE_MONOTONIC=1\n\
                     Environment=FAKETIME_NO_CACHE=1\nMemoryDenyWriteExecute=no\n",
                    library.trim()
                );
                self.ci.write(place, 0o644, "root:root", dropin);
            }
            None => self.ci.must(&format!("rm {place}")),
        }
        self.ci.must("systemctl daemon-reload && systemctl restart hostward");
    }

    /// Has jenkins try, who is to be told this.
    fn refused(&self, code: &str, mend: &str) {
        for command in ["hostward ssh web1 true", "ssh web1 true"] {
            let refused = self.jenkins(&format!("timeout 20 {command} </dev/null"));
            assert!(!refused.success() && refused.stderr.contains(mend), "{command}: {refused}");
        }
        let json = self.jenkins("hostward status --json; true").stdout;
        assert!(json.contains(&format!("\"{code}\"")), "{json}");
        let told = self.jenkins("hostward status");
        assert!(told.status == 1 && told.stdout.contains(mend), "{told}");
        let told = self.ci.run("hostward status");
        assert!(told.status == 1 && told.stdout.contains(mend), "{told}");
        let doctor = self.ci.run("hostward doctor");
        assert!(doctor.stdout.contains("BAD   step-ca: ") && doctor.stdout.contains(mend), "{doctor}");
    }
}

on_each_release! {
    /// No backend, no enrollment, no key on a disk, no question.
    fn an_account_goes_to_a_host_that_trusts_the_step_ca(release) {
        let lab = new_lab();
        let site = Site::new(&lab, release);
        let applied = site.set_up(&site.ca.configuration(JENKINS), StepCa::PASSWORD);
        assert!(applied.success(), "{applied}");
        site.wait_until_asked("provisioner ci: the last exchange succeeded");
        let status = site.ci.run("hostward status");
        assert!(status.success() && status.stdout.contains("need not be"), "{status}");

        let gone = site.jenkins("ssh web1 'id -un; hostname' </dev/null");
        assert_eq!(gone.expect_success(), "deploy\nweb1\n");
        assert_eq!(site.jenkins("hostward ssh web1 id -un </dev/null").expect_success(), "deploy\n");
        assert_eq!(site.jenkins("ls -A ~/.ssh 2>/dev/null; true").stdout, "", "nothing is kept");
        let log = site.web1.ok("journalctl --no-pager -u ssh -u 'ssh@*'");
        assert!(log.contains("ID service:deploy@ci:uid=112 (serial "), "{log}");
        let status = site.jenkins("hostward status");
        let said = "(uid 112) stands for deploy (step-ca); its certificate is good until";
        assert!(status.success() && status.stdout.contains(said), "{status}");
        let doctor = site.ci.run("hostward doctor").stdout;
        for good in ["ok    step-ca: ", "ok    permissions: ", "ok    services: ", "-     enrollment: "] {
            assert!(doctor.contains(good), "{good}: {doctor}");
        }
        let events = site.ci.ok("hostward events --type hostward.certificate.issued --json");
        assert!(events.contains("\"issuer\":\"step-ca\""), "{events}");
        let listed = site.jenkins("SSH_AUTH_SOCK=/run/hostward/ssh-agent.sock ssh-add -L").expect_success();
        site.ci.write("/tmp/cert.pub", 0o644, "root:root", listed);
        let shown = site.ci.ok("ssh-keygen -L -f /tmp/cert.pub");
        assert!(shown.contains("permit-pty") && !shown.contains("agent-forwarding"), "{shown}");

        // Nobody else has anything of it, and other hosts are gone to as ever.
        for user in ["olga", "root", "nobody"] {
            let listed = site.ci.run_as(user, "SSH_AUTH_SOCK=/run/hostward/ssh-agent.sock ssh-add -l");
            assert!(listed.status == 1 && listed.stdout.contains("no identities"), "{user}: {listed}");
        }
        let other = site.jenkins("hostward resolve web9");
        assert!(other.status == 1 && other.stderr.contains("none of the hosts"), "{other}");
        let settings = site.jenkins("ssh -G web9").expect_success();
        assert!(settings.contains("user jenkins\n") && !settings.contains("hostward"), "{settings}");

        // What was cut off comes back by itself.
        site.ci.reboot().expect("a reboot");
        site.ci.wait_until_ok(SOON, "runuser -u jenkins -- ssh web1 true </dev/null");

        // Another key in the path is no host of the CA's.
        site.web1.must(
            "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/other && \
             sed -i 's|^HostCertificate.*|HostKey /etc/ssh/other|' /etc/ssh/sshd_config && systemctl restart ssh",
        );
        let refused = site.jenkins("timeout 20 ssh web1 true </dev/null");
        assert!(refused.status == 255 && refused.stderr.contains("Host key verification failed"), "{refused}");

        // Taken out of the configuration it is over, with what ssh believed for it.
        assert!(site.ci.exists(KNOWN_HOSTS));
        site.ci.must("rm -r /etc/hostward/hostward.toml /etc/systemd/system/hostward.service.d /etc/hostward/step-ca.password");
        site.ci.must("systemctl daemon-reload && systemctl restart hostward && hostward apply");
        let listed = site.jenkins("SSH_AUTH_SOCK=/run/hostward/ssh-agent.sock ssh-add -l");
        assert!(listed.status == 1 && listed.stdout.contains("no identities"), "{listed}");
        assert!(!site.ci.exists(KNOWN_HOSTS) && !site.ci.exists("/var/lib/hostward/ssh/client.conf"));
    }

    /// Whoever waits is told why, and whoever runs the host, each with what to do.
    fn what_is_wrong_with_a_step_ca_is_told(release) {
        let lab = new_lab();
        let mut site = Site::new(&lab, release);
        let good = site.ca.configuration(JENKINS);

        let _applied = site.set_up(&good, "battery staple");
        site.refused("step-ca-wrong-password", "write the provisioner's password");
        let _applied = site.set_up(&good.replace("provisioner = \"ci\"", "provisioner = \"cj\""), StepCa::PASSWORD);
        site.refused("step-ca-unknown-provisioner", "correct [step_ca] provisioner");
        let _applied = site.set_up(&good.replace("provisioner = \"ci\"", "provisioner = \"x509\""), StepCa::PASSWORD);
        site.refused("step-ca-ssh-not-enabled", "step ca provisioner update NAME --ssh");
        let other = good.replace(&site.ca.root_fingerprint, &"0".repeat(64));
        let _applied = site.set_up(&other, StepCa::PASSWORD);
        site.refused("step-ca-wrong-fingerprint", "take the fingerprint on the CA itself");

        // Without the drop-in systemd hands over nothing.
        let _applied = site.set_up(&good, StepCa::PASSWORD);
        site.ci.must("rm -r /etc/systemd/system/hostward.service.d && systemctl daemon-reload && systemctl restart hostward");
        site.refused("step-ca-no-password", "put /usr/share/doc/hostward/examples/step-ca.conf into");

        let _applied = site.set_up(&good, StepCa::PASSWORD);
        assert!(site.jenkins("ssh web1 true </dev/null").success());
        site.ca.stop();
        assert!(site.jenkins("ssh web1 true </dev/null").success(), "what is good is used");
        site.ci.must("systemctl restart hostward");
        site.refused("step-ca-down", "start step-ca there");
        site.ca.start_again();
        site.ci.wait_until_ok(SOON, "runuser -u jenkins -- ssh web1 true </dev/null");
        site.wait_until_asked("provisioner ci: the last exchange succeeded");

        // The agent's clock alone: the machine's own belongs to all. An hour behind it, the CA's TLS certificate is of the future.
        site.ci.install_offered("faketime");
        for (shift, said) in [("+1h", "about 60 minutes ahead of the CA's: "), ("-1h", "about 60 minutes behind the CA's: ")] {
            site.shift_clock(Some(shift));
            site.refused("step-ca-clock-skew", "see by another clock which of the two is wrong");
            for told in [site.jenkins("hostward ssh web1 true"), site.jenkins("ssh web1 true </dev/null"), site.jenkins("hostward status")] {
                assert!(told.to_string().contains(said), "{shift}: {told}");
            }
        }
        site.shift_clock(None);
        site.ci.wait_until_ok(SOON, "runuser -u jenkins -- ssh web1 true </dev/null");

        // What the operator wrote about accounts is judged by root, who says what is refused.
        let refused = site.set_up(&site.ca.configuration(&JENKINS.replace("jenkins", "root")), StepCa::PASSWORD);
        assert!(refused.status == 1 && refused.stdout.contains("0 is root"), "{refused}");
        let status = site.ci.run("hostward status");
        assert!(status.status == 1 && status.stdout.contains("0 is root"), "{status}");
        let listed = site.jenkins("SSH_AUTH_SOCK=/run/hostward/ssh-agent.sock ssh-add -l");
        assert!(listed.stdout.contains("no identities"), "{listed}");
        // The package takes all of it away.
        let good = site.set_up(&good, StepCa::PASSWORD);
        assert!(good.success(), "{good}");
        site.ci.purge(PACKAGE);
        let left = site.ci.ok("ls -d /var/lib/hostward* /etc/hostward* 2>/dev/null; true");
        assert_eq!(left, "", "nothing is left");
    }
}
