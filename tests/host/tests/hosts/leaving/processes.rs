//! Processes of every kind that a person can leave on a host, each with a number of its own to be found by.

use std::time::Duration;

use hostward_host_tests::{Fixture, SOON};

/// The program of the root child; sudo's own path of `sleep` differs between releases.
pub const NAP: &str = "/opt/nap";

/// What [`Kind::Hopping`] leaves: a byte of each of its processes.
const TRACE: &str = "/var/tmp/hops";

/// What [`Kind::start`] starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `nohup … &` in a session that has ended.
    Nohup = 100_001,
    /// In a tmux server that no client is attached to.
    Tmux = 100_002,
    /// It ignores TERM and HUP.
    Stubborn = 100_003,
    /// A child of sudo's: its uid is root's.
    RootChild = 100_004,
    /// A unit of the person's own systemd.
    UserUnit = 100_005,
    /// A cron job, which has no session.
    Cron = 100_006,
    /// A session without pam_systemd, so without a scope of its own.
    NoPamSystemd = 100_007,
    /// A root child of sudo's in such a session, with `setsid`.
    NoPamSystemdRootChild = 100_008,
    /// A unit that lingers when nobody is logged in.
    Lingering = 100_009,
    /// It forks without end, each child a moment.
    Forking = 100_010,
    /// In a pid namespace of its own, as in a container: it only has the number.
    Container = 100_011,
    /// Stopped, so that it cannot act on TERM.
    Stopped = 100_012,
    /// Each of its processes starts the next and ends, faster than anybody can look; what shows that it runs is
    /// [`TRACE`]. It stops by itself after ten minutes.
    Hopping = 100_013,
    /// In user and pid namespaces that the person made.
    OwnNamespaces = 100_014,
}

use Kind::{
    Container, Cron, Forking, Hopping, Lingering, NoPamSystemd, NoPamSystemdRootChild, Nohup, OwnNamespaces,
    RootChild, Stopped, Stubborn, Tmux, UserUnit,
};

/// All that must end with the person's login.
pub const OWN: &[Kind] = &[
    Nohup,
    Tmux,
    Stubborn,
    RootChild,
    UserUnit,
    Cron,
    NoPamSystemd,
    NoPamSystemdRootChild,
    Lingering,
    Forking,
    Stopped,
];

impl Kind {
    /// Starts it as `user` and returns once it runs.
    #[track_caller]
    pub fn start(self, fixture: &Fixture<'_>, user: &str) {
        let host = &fixture.host;
        let nap = format!("sleep {}", self as u32);
        let quiet = "</dev/null >/dev/null 2>&1";
        let over_ssh = |command: &str| {
            let output = fixture.ssh_as(user).run(command);
            assert!(output.success(), "{self:?}: {output}");
        };
        match self {
            Nohup => over_ssh(&format!("nohup {nap} {quiet} &")),
            Tmux => over_ssh(&format!("tmux new-session -d 'exec {nap}'")),
            Stubborn => over_ssh(&format!("trap '' TERM HUP INT; nohup {nap} {quiet} &")),
            RootChild => over_ssh(&format!("nohup sudo -n {NAP} {} {quiet} &", self as u32)),
            UserUnit => {
                over_ssh(&format!("XDG_RUNTIME_DIR=/run/user/$(id -u) systemd-run --user --quiet {nap}"))
            }
            Cron => {
                host.write("/etc/cron.d/nap", 0o644, "root:root", format!("@reboot {user} {nap}\n"));
                // Jobs of `@reboot` are run when cron starts for the first time.
                host.must("rm -f /run/crond.reboot; systemctl restart cron");
            }
            NoPamSystemd | NoPamSystemdRootChild => {
                let files = "/etc/pam.d/common-session /etc/pam.d/common-session-noninteractive";
                host.must(&format!("sed -i.lab 's/^.*pam_systemd.so/#&/' {files}"));
                over_ssh(&match self {
                    NoPamSystemd => format!("nohup {nap} {quiet} &"),
                    _ => format!("setsid --fork nohup sudo -n {NAP} {} {quiet}", self as u32),
                });
                host.must("for file in common-session common-session-noninteractive; do mv /etc/pam.d/$file.lab /etc/pam.d/$file; done");
            }
            Lingering => {
                host.must(&format!("loginctl enable-linger {user}"));
                let unit = format!("[Service]\nExecStart=/bin/{nap}\n[Install]\nWantedBy=default.target\n");
                let directory = format!("/home/{user}/.config/systemd/user");
                over_ssh(&format!(
                    "mkdir -p {directory}; printf '{}' >{directory}/nap.service",
                    unit.replace('\n', "\\n")
                ));
                over_ssh(
                    "export XDG_RUNTIME_DIR=/run/user/$(id -u); systemctl --user daemon-reload && systemctl --user --quiet enable --now nap.service",
                );
            }
            Forking => over_ssh(&format!(
                "nohup sh -c 'while :; do sh -c \"sleep 0.02; : {}\"; done' {quiet} &",
                self as u32
            )),
            Hopping => over_ssh(&format!(
                "nohup perl -e '$end = time + 600; while (time < $end) {{ \
                 open T, q(>>), q({TRACE}) and print T q(.) and close T; exit if fork }}' {quiet} &"
            )),
            OwnNamespaces => {
                over_ssh(&format!("nohup unshare --user --map-root-user --pid --fork {nap} {quiet} &"));
            }
            Container => {
                let uid = host.ok(&format!("id -u {user}"));
                let become_user = format!("setpriv --reuid {0} --regid {0} --clear-groups", uid.trim());
                host.must(&format!("setsid --fork unshare --pid --fork {become_user} {nap} {quiet}"));
            }
            Stopped => {
                over_ssh(&format!("nohup sh -c 'kill -STOP $$; : {}' {quiet} &", self as u32));
            }
        }
        host.wait_for(SOON, &format!("{self:?} to run"), |_| {
            if self.runs(fixture) { Ok(()) } else { Err(host.ok("ps -eo pid,user,args")) }
        });
    }

    /// Whether it runs.
    pub fn runs(self, fixture: &Fixture<'_>) -> bool {
        if self == Hopping {
            let size = format!("stat -c %s {TRACE} 2>&1");
            return fixture.host.run(&format!("[ \"$({size})\" != \"$(sleep 0.5; {size})\" ]")).success();
        }
        // A zombie has no arguments left; the brackets keep the search from finding itself.
        let number = (self as u32).to_string();
        let pattern = format!("[{}]{}", &number[..1], &number[1..]);
        fixture.host.run(&format!("ps -eo args | grep -q {pattern}")).success()
    }
}

/// What must end too, and can outrun whoever looks for it one by one.
pub const FAST: &[Kind] = &[Hopping, OwnNamespaces];

/// Waits until nothing of `kinds` runs; returns how long that took.
#[track_caller]
pub fn all_end(fixture: &Fixture<'_>, kinds: &[Kind]) -> Duration {
    let (took, ()) = fixture.host.wait_for(SOON, "everything of the person's to end", |host| {
        let left: Vec<_> = kinds.iter().filter(|kind| kind.runs(fixture)).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}\n{}", host.ok("ps -eo pid,ppid,user,cgroup,args")))
        }
    });
    took
}
