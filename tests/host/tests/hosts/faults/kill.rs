//! `kill -9` of either process, at many moments.

use std::thread;
use std::time::Duration;

use hostward_host_tests::{Fixture, SOON, new_lab, on_each_release};

use super::state::{Pendulum, Side};

/// How often each process is killed. The moments are spread over what an apply takes.
const KILLS: u32 = 15;

/// Kills the main process of a unit, if it runs.
fn kill(fixture: &Fixture<'_>, unit: &str) -> bool {
    fixture
        .host
        .run(&format!("pid=$(systemctl show -P MainPID {unit}); test \"$pid\" -gt 0 && kill -9 $pid"))
        .success()
}

on_each_release! {
    /// The process that applies.
    fn apply_is_killed_at_any_moment(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).team(&Side::Both.team()).enrolled();
        let pendulum = Pendulum::new(&lab, &fixture);
        let mut side = Side::Both;
        let mut hit = 0;
        for round in 0..KILLS {
            side = side.other();
            let when = format!("round {round}");
            fixture.publish(|_| side.team());
            thread::sleep(Duration::from_millis(u64::from(round) * 7));
            hit += u32::from(kill(&fixture, "hostward-apply"));
            pendulum.is_whole(&when);
            // Without anybody's help: the agent asks again.
            fixture.host.wait_for(SOON, &format!("{when}: {side:?}"), |_| {
                if pendulum.is_on(side) { Ok(()) } else { Err(fixture.journal()) }
            });
        }
        println!("{release}: {hit} of {KILLS} kills hit a running process");
        assert!(hit > KILLS / 3, "the moments are not those of an apply");
        pendulum.converges(side, "at the end");
    }

    /// The process that talks to the backend, and both.
    fn the_agent_is_killed_at_any_moment(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).team(&Side::Both.team()).enrolled();
        let pendulum = Pendulum::new(&lab, &fixture);
        let mut side = Side::Both;
        for round in 0..KILLS {
            side = side.other();
            let when = format!("round {round}");
            fixture.publish(|_| side.team());
            thread::sleep(Duration::from_millis(u64::from(round) * 5));
            fixture.host.wait_for(SOON, "the agent to be killed", |host| {
                if kill(&fixture, "hostward") { Ok(()) } else { Err(host.run("systemctl status hostward").stdout) }
            });
            if round % 3 == 0 {
                let _applied_or_not = kill(&fixture, "hostward-apply");
            }
            pendulum.is_whole(&when);
            fixture.host.wait_for(SOON, &format!("{when}: {side:?}"), |_| {
                if pendulum.is_on(side) { Ok(()) } else { Err(fixture.journal()) }
            });
        }
        pendulum.converges(side, "at the end");
        let hosts = fixture.client.hosts().expect("hosts");
        assert_eq!(hosts.len(), 1, "it is still the host that enrolled");
    }

    /// A power cut while it applies, and a boot.
    fn the_power_is_cut_during_an_apply(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).team(&Side::Both.team()).enrolled();
        let pendulum = Pendulum::new(&lab, &fixture);
        let mut side = Side::Both;
        for delay in [20, 60, 120] {
            side = side.other();
            fixture.publish(|_| side.team());
            thread::sleep(Duration::from_millis(delay));
            fixture.host.cut_power();
            fixture.host.start().expect("a boot");
            fixture.stop_timer();
            pendulum.is_whole("after the boot");
            pendulum.converges(side, "after the boot");
        }
    }
}
