//! Refused logins, made into few: one a source, user, reason and minute.
//!
//! Whoever is on the network decides how many there are and what they call themselves. A source that tries many names is
//! one that tries "various", and many sources are "various" as well.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Account, Denial, Remote, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How many users one source may be told with in a minute.
const USERS_OF_SOURCE: usize = 16;
/// How many are told in a minute before sources are not told apart any more.
const MOST: usize = 256;
/// What stands for those that are not told apart.
const VARIOUS: &str = "(various)";
/// How long after a minute something of it may still come.
pub(crate) const GRACE: TimeDelta = TimeDelta::seconds(10);

/// Those that wait for their minute to be over. `P` is where in its source the first of each stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "P: Serialize + DeserializeOwned")]
pub struct Denials<P> {
    #[serde(with = "crate::pairs")]
    pending: BTreeMap<(i64, String), Pending<P>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pending<P> {
    denial: Denial,
    /// What the last of them was made of.
    id: String,
    first: P,
}

/// Those of a series whose minute is over.
#[derive(Debug)]
pub(crate) struct Told {
    pub denial: Denial,
    pub id: String,
}

impl<P> Default for Denials<P> {
    fn default() -> Self {
        Denials { pending: BTreeMap::new() }
    }
}

impl<P> Denials<P> {
    /// Those of a position, without what was told since.
    pub fn resumed(mut self, knows: impl Fn(&str) -> Option<DateTime<Utc>>) -> Self {
        self.pending
            .retain(|(_, series), pending| knows(series).is_none_or(|until| pending.denial.last > until));
        self
    }

    /// One more, whose `last` says when. `knows` says of a series up to when it was told already.
    pub fn add(
        &mut self,
        mut denial: Denial,
        id: String,
        place: P,
        knows: impl Fn(&str) -> Option<DateTime<Utc>>,
    ) {
        let minute = denial.last.timestamp().div_euclid(60);
        if !self.pending.contains_key(&(minute, series(minute, &denial))) {
            let of_minute = || self.pending.iter().filter(|((found, _), _)| *found == minute);
            let is_of_source = |(_, pending): &(_, &Pending<P>)| pending.denial.remote == denial.remote;
            if of_minute().filter(is_of_source).count() >= USERS_OF_SOURCE {
                denial.user = Account { name: VARIOUS.into(), uid: None };
            }
            if of_minute().count() >= MOST {
                denial.user = Account { name: VARIOUS.into(), uid: None };
                denial.remote = denial.remote.map(|_| Remote { host: VARIOUS.into(), port: None });
                denial.by = None;
            }
        }
        let key = (minute, series(minute, &denial));
        denial.series.clone_from(&key.1);
        if knows(&key.1).is_some_and(|until| denial.last <= until) {
            return;
        }
        match self.pending.get_mut(&key) {
            Some(pending) => {
                let had = &mut pending.denial;
                had.count += denial.count;
                had.last = had.last.max(denial.last);
                had.authentication = denial.authentication.or(had.authentication.take());
                had.said = denial.said.or(had.said.take());
                pending.id = id;
            }
            None => {
                self.pending.insert(key, Pending { denial, id, first: place });
            }
        }
    }

    /// Where the first of all that wait stands.
    pub fn first(&self) -> impl Iterator<Item = &P> {
        self.pending.values().map(|pending| &pending.first)
    }

    /// Those whose minute is over at `now`.
    pub fn over(&mut self, now: DateTime<Utc>) -> Vec<Told> {
        let minute = (now - GRACE).timestamp().div_euclid(60);
        let later = self.pending.split_off(&(minute, String::new()));
        let over = std::mem::replace(&mut self.pending, later);
        over.into_values().map(|Pending { denial, id, .. }| Told { denial, id }).collect()
    }

    /// When the first of them is over.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        let (minute, _) = self.pending.keys().next()?;
        DateTime::from_timestamp((minute + 1) * 60, 0).map(|end| end + GRACE)
    }
}

/// What those of a minute have in common that are told as one.
fn series(minute: i64, denial: &Denial) -> String {
    let none = String::new();
    let remote = denial.remote.as_ref().map_or(&none, |remote| &remote.host);
    let by = denial.by.as_ref().map_or(&none, |by| &by.name);
    let Denial { boot, service, user, reason, .. } = denial;
    let text = serde_json::json!([minute, boot, service, user.name, reason.code(), remote, by]);
    digest(text.to_string().as_bytes())[..32].to_owned()
}
