//! Whether a managed user may come in at a moment, and what they are told if not.

use hostward_records::{Denied, Reason};

use crate::who::Who;

/// Why somebody does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Unix seconds at which what was allowed ended.
    pub(crate) until: Option<u64>,
}

impl Refusal {
    /// Of this user at `now` (Unix seconds). What root says must be said in as many words: silence refuses nobody.
    pub(crate) fn of(who: &Who, denied: Option<&Denied>, now: u64) -> Option<Self> {
        let over = |until: Option<u64>| until.is_none_or(|until| until <= now);
        let managed = match who {
            Who::Local(_) | Who::Foreign => return None,
            Who::Gone(person) => {
                let refusal = Refusal { reason: person.reason, until: person.until };
                return Some(refusal).filter(|refusal| over(refusal.until));
            }
            Who::Managed(managed) => managed,
        };
        if denied.is_some_and(|denied| denied.stale) {
            return Some(Refusal { reason: Reason::Stale, until: None });
        }
        let is_them = |uid: u32, name: &str| uid == managed.uid && name == managed.name;
        let entry = denied
            .and_then(|denied| denied.people.iter().find(|person| is_them(person.uid, &person.name)))
            .map(|person| Refusal { reason: person.reason, until: person.until });
        if let Some(refusal) = entry.filter(|refusal| over(refusal.until)) {
            return Some(refusal);
        }
        let until = managed.valid_until.filter(|until| *until <= now)?;
        Some(Refusal { reason: Reason::OutsideWindow, until: Some(until) })
    }

    /// What `name` is told.
    pub(crate) fn message(self, name: &str) -> String {
        let since = self.until.map(|until| format!(" since {}", utc(until))).unwrap_or_default();
        match self.reason {
            Reason::Suspended => format!("hostward: the user {name} is suspended{since}"),
            Reason::Expired => format!("hostward: the user {name} has expired{since}"),
            Reason::OutsideWindow => {
                format!("hostward: no grant lets {name} in on this host at this time{since}")
            }
            Reason::Stale => {
                "hostward: this host has heard nothing of its policy for too long and lets nobody in by it"
                    .into()
            }
        }
    }
}

/// `2026-11-28 18:00:00 UTC`.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days from 0000-03-01, in eras of 400 years: the months' lengths then repeat from March on.
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::who::Managed;
    use hostward_records::{DENIED_SCHEMA, DeniedPerson};

    fn alice(valid_until: Option<u64>) -> Who {
        let (name, home) = ("alice".into(), "/home/alice".into());
        Who::Managed(Managed { name, uid: 70001, gid: 70001, home, valid_until })
    }

    fn denied(reason: Reason, until: Option<u64>) -> Denied {
        let people = vec![DeniedPerson { name: "alice".into(), uid: 70001, reason, until }];
        Denied { schema: DENIED_SCHEMA.into(), stale: false, people }
    }

    fn reason(who: &Who, denied: Option<&Denied>, now: u64) -> Option<Reason> {
        Refusal::of(who, denied, now).map(|refusal| refusal.reason)
    }

    #[test]
    fn a_window_ends_at_its_second_whatever_root_says_or_does_not() {
        for file in [None, Some(denied(Reason::Expired, Some(1000)))] {
            let (who, file) = (alice(Some(1000)), file.as_ref());
            assert_eq!(reason(&who, file, 999), None);
            let expected = if file.is_some() { Reason::Expired } else { Reason::OutsideWindow };
            assert_eq!(reason(&who, file, 1000), Some(expected));
        }
        assert_eq!(reason(&alice(None), None, u64::MAX), None);
    }

    #[test]
    fn root_s_word_counts_for_whom_it_names_and_from_then_on() {
        let file = denied(Reason::Suspended, None);
        assert_eq!(reason(&alice(None), Some(&file), 0), Some(Reason::Suspended));
        let later = denied(Reason::Expired, Some(10));
        assert_eq!(reason(&alice(None), Some(&later), 9), None);
        assert_eq!(reason(&alice(None), Some(&later), 10), Some(Reason::Expired));
        let other =
            Denied { people: vec![DeniedPerson { uid: 70002, ..file.people[0].clone() }], ..file.clone() };
        assert_eq!(reason(&alice(None), Some(&other), 0), None, "another person of that name");
        assert_eq!(reason(&Who::Gone(file.people[0].clone()), None, 0), Some(Reason::Suspended));
        let stale = Denied { people: Vec::new(), stale: true, ..file.clone() };
        assert_eq!(reason(&alice(None), Some(&stale), 0), Some(Reason::Stale));
        for who in [Who::Local(Some(70001)), Who::Local(None), Who::Foreign] {
            assert_eq!(reason(&who, Some(&file), 0), None);
            assert_eq!(reason(&who, Some(&stale), 0), None);
        }
    }

    #[test]
    fn moments_are_as_a_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_868_799, "2000-02-29 23:59:59 UTC"),
            (1_790_000_000, "2026-09-21 14:13:20 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
        assert!(utc(u64::MAX).ends_with("UTC"));
    }
}
