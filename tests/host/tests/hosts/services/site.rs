//! The site.

use hostward_host_tests::{Fixture, Host, Lab, Output, Release, SOON, TEAM};

/// Who may go where: the service user everywhere, with one command in sudo on web servers.
pub const BOUND: &str = "
[[services]]
user = \"deploy\"
hosts = \"labels.role = ci\"
uid = 112
";

const DEPLOY: &str = r#"
[users.deploy]
uid = 70100

[groups.deployers]
gid = 71100
members = ["deploy"]

[[grants]]
group = "deployers"
hosts = "labels.role in (bastion, web)"
login = true

[[grants]]
group = "deployers"
hosts = "labels.role = web"
login = true
entitlements = ["restart-nginx"]

[entitlements.restart-nginx]
no_passwd = true
commands = [
    { executable = "/usr/bin/systemctl", arguments = ["restart", "nginx"] },
    { executable = "/bin/systemctl", arguments = ["restart", "nginx"] },
]
"#;

/// The hosts.
pub struct Site<'lab> {
    pub ci: Fixture<'lab>,
    pub bastion: Host,
    pub web1: Host,
    pub web2: Host,
}

/// The team in which uid 112 is bound, or not.
pub fn team(services: &str) -> String {
    format!("{TEAM}{DEPLOY}{services}")
}

impl<'lab> Site<'lab> {
    /// All of them, enrolled, with host certificates in place.
    pub fn new(lab: &'lab Lab, release: Release) -> Self {
        let ci = Fixture::on(lab, release)
            .name("ci")
            .team(&team(BOUND))
            .configuration("[labels]\nrole = \"ci\"\n")
            .enrolled();
        ci.host.must("useradd --system --uid 112 --create-home --shell /bin/bash jenkins");
        ci.host.must("useradd --create-home olga");
        ci.host.must("hostward apply");
        let bastion = ci.beside("bastion", "[labels]\nrole = \"bastion\"\n");
        let web1 = ci.beside("web1", "[labels]\nrole = \"web\"\n[host]\nbastion = \"bastion\"\n");
        let web2 = ci.beside("web2", "[labels]\nrole = \"web\"\n[host]\nbastion = \"web1\"\n");
        for (web, others) in [(&web1, &[&ci.host][..]), (&web2, &[&ci.host, &bastion])] {
            // There is no way to them but over their bastion.
            for other in others {
                web.must(&format!("ip route add blackhole {}/32", other.address()));
            }
            web.write(
                "/etc/systemd/system/nginx.service",
                0o644,
                "root:root",
                "[Service]\nExecStart=/bin/sleep infinity\n",
            );
            web.must("systemctl daemon-reload && systemctl start nginx");
        }
        for host in [&bastion, &web1, &web2] {
            host.wait_until_ok(SOON, "grep -q HostCertificate /etc/ssh/sshd_config.d/10-hostward.conf");
        }
        let site = Site { ci, bastion, web1, web2 };
        // sshd is told to read its configuration, and takes a moment for it.
        for name in ["bastion", "web1", "web2"] {
            site.wait_for_way_to(name);
        }
        site
    }

    /// Waits until plain ssh of jenkins' goes there. It does not say itself why hostward had no part in it.
    #[track_caller]
    pub fn wait_for_way_to(&self, name: &str) {
        let command = format!(
            "runuser -u jenkins -- ssh -o ConnectTimeout=5 {name} true || \
             {{ runuser -u jenkins -- hostward resolve {name}; runuser -u jenkins -- hostward status; exit 1; }}"
        );
        self.ci.host.wait_until_ok(SOON, &command);
    }

    /// A command of jenkins' on ci.
    pub fn jenkins(&self, command: &str) -> Output {
        self.ci.host.run_as("jenkins", command)
    }

    /// Until when a process runs: the one of nginx.
    pub fn nginx(host: &Host) -> String {
        host.ok("systemctl show --property=MainPID --value nginx").trim().to_owned()
    }
}
