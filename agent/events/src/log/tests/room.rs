//! Whose events stay when there is no room, and what may go for new ones.

use super::*;

fn told(records: &[Record]) -> u64 {
    let lost = records.iter().filter(|r| r.kind == "hostward.events.lost");
    lost.map(|r| r.data["unmapped"]["lost"]["count"].as_u64().unwrap()).sum()
}

#[test]
fn ten_thousand_failed_logins_evict_no_session() {
    let dir = scratch();
    // A tenth of what is kept by default, so that the room is used up many times over.
    let limits = Limits { denials: 800 << 10, sessions: 3200 << 10, segment: 400 << 10, ..Limits::default() };
    let mut log = open(&dir, limits.clone(), "a").log;
    for n in 0..100 {
        log.append(&[event(Kind::SessionOpened, &format!("session {n}"))], at(n)).unwrap();
        let denied: Vec<_> = (0..100).map(|m| event(Kind::LoginDenied, &format!("denied {n}.{m}"))).collect();
        log.append(&denied, at(n)).unwrap();
    }
    let seen = records(&dir);
    let of = |quota| seen.iter().filter(move |record| record.quota == quota);
    assert_eq!(of(Quota::Sessions).count(), 100);
    let kept = of(Quota::Denials).count() as u64;
    assert!(kept > 500, "{kept}");
    assert_eq!(kept + told(&seen) + log.losses().of(Quota::Denials), 10_000);
    let bytes: u64 = of(Quota::Denials).map(|record| serde_json::to_vec(record).unwrap().len() as u64).sum();
    assert!(bytes <= limits.denials);
    whole(&dir);
}

#[test]
fn what_a_backend_does_not_have_yet_is_kept_for_it() {
    let dir = scratch();
    let mut log = open(&dir, limits(), "a").log;
    for n in 0..100 {
        log.append(&[own(&format!("event {n}"))], at(n)).unwrap();
        if n == 0 {
            log.acknowledge(log.head().unwrap()).unwrap();
        }
    }
    let first = records(&dir)[0].sequence;
    let late = 400 * 86_400;
    log.append(&[own("during a long outage")], at(late)).unwrap();
    assert_eq!(records(&dir)[0].sequence, first, "nothing that only this log has may go, however old it is");
    assert!(!log.losses().is_empty());

    // It has the first file: that one goes, and no other.
    let second = crate::files::full(dir.path()).unwrap()[1];
    let had = records(&dir).into_iter().find(|record| record.sequence == second - 1).unwrap();
    log.acknowledge(Head { sequence: had.sequence, hash: "ab".into() }).unwrap();
    log.append(&[own("again")], at(late + 1)).unwrap();
    assert_eq!(records(&dir)[0].sequence, second);

    // The host leaves: nobody waits for the rest.
    log.set_taken(false);
    for n in 0..10 {
        log.append(&[own(&format!("alone {n}"))], at(late + 2 + n)).unwrap();
    }
    assert!(records(&dir)[0].sequence > second);
    assert_eq!(records(&dir).last().unwrap().message(), "alone 9");
}
