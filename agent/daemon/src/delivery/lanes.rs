//! Which events go next: two lanes, each in order.
//!
//! A host that has much to catch up with sends what it recorded before in one lane, and what it records from then on
//! in another, so that what happens now is not held up by what happened last week. Numbers put them together again.

/// The most events in a batch. A host that is further behind has two lanes.
pub const MOST: u64 = 1000;
/// The most spans that are remembered; what is forgotten is sent twice.
const MOST_SPANS: usize = 64;

/// What the backend has, and what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// The first event that is for this backend.
    from: u64,
    /// It has everything from there to this one.
    head: u64,
    /// What it has behind that: first and last of each, ascending, none next to another.
    had: Vec<(u64, u64)>,
    /// Events that it will never have.
    skipped: Vec<u64>,
    /// The second lane, where there are two.
    live: Option<Live>,
    /// The newest event that there is.
    end: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    first: u64,
    next: u64,
}

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The one without a gap before it.
    Backlog,
    /// What was recorded since there were two.
    Live,
}

/// Events to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From this one.
    pub first: u64,
    /// To this one at most.
    pub last: u64,
    /// The event before the first that the backend has or is to get; 0 where there is none.
    pub after: u64,
}

impl Lanes {
    /// The backend has everything from `from` to `head`, which is `from - 1` where it has nothing.
    pub fn new(from: u64, head: u64, end: u64) -> Self {
        Lanes {
            from,
            head: head.max(from.saturating_sub(1)),
            had: Vec::new(),
            skipped: Vec::new(),
            live: None,
            end,
        }
    }

    /// There is more.
    pub fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// The newest event up to which nothing is to be sent.
    #[cfg(test)]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The newest event that there is.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many events wait.
    pub fn waiting(&self) -> u64 {
        let had: u64 = self.had.iter().map(|(first, last)| last - first + 1).sum();
        self.end.saturating_sub(self.head).saturating_sub(had)
    }

    /// Whether there are two lanes.
    pub fn is_split(&self) -> bool {
        self.live.is_some()
    }

    /// Opens the second lane where there is enough to catch up with.
    pub fn split(&mut self) {
        if self.live.is_none() && self.end.saturating_sub(self.head) > MOST {
            self.live = Some(Live { first: self.end + 1, next: self.end + 1 });
        }
    }

    /// Gives the second lane up, after a failure: what came meanwhile is a part of what is to be caught up with.
    pub fn unite(&mut self) {
        self.live = None;
    }

    /// What goes next in a lane.
    pub fn next(&self, lane: Lane) -> Option<Span> {
        let (first, last) = match (lane, &self.live) {
            (Lane::Backlog, live) => {
                let before = self.had.first().map(|(first, _)| *first);
                let before = before.into_iter().chain(live.as_ref().map(|live| live.first)).min();
                (self.head + 1, before.map_or(self.end, |before| before - 1))
            }
            (Lane::Live, Some(live)) => (live.next, self.end),
            (Lane::Live, None) => return None,
        };
        (first <= last).then(|| Span { first, last, after: self.after(first) })
    }

    fn after(&self, first: u64) -> u64 {
        let mut after = first.saturating_sub(1);
        while self.skipped.contains(&after) {
            after -= 1;
        }
        if after < self.from { 0 } else { after }
    }

    /// The backend has these, whichever of them it had before; all from the beginning of the span that was sent.
    pub fn sent(&mut self, lane: Lane, span: Span, last: u64) {
        self.insert(span.first, last);
        if let (Lane::Live, Some(live)) = (lane, &mut self.live) {
            live.next = live.next.max(last + 1);
        }
    }

    /// The backend will never take this one.
    pub fn skip(&mut self, lane: Lane, span: Span, number: u64) {
        self.pass_over(number);
        self.sent(lane, span, number);
    }

    /// The same for what an earlier run found out.
    pub fn pass_over(&mut self, number: u64) {
        if number > self.head {
            self.skipped.push(number);
            self.insert(number, number);
        }
    }

    /// Those, as far as the backend may not know that there is something behind them.
    pub fn skipped(&self) -> &[u64] {
        &self.skipped
    }

    /// Closes the second lane where the first has come up to it and nothing is under way in it.
    pub fn join(&mut self) {
        if self.live.as_ref().is_some_and(|live| self.head + 1 >= live.next) {
            self.live = None;
        }
    }

    /// The backend has lost what came behind `head`.
    pub fn rewind(&mut self, head: u64) {
        let skipped = std::mem::take(&mut self.skipped);
        *self = Lanes::new(self.from, head, self.end);
        skipped.into_iter().for_each(|number| self.pass_over(number));
    }

    fn insert(&mut self, first: u64, last: u64) {
        self.had.push((first, last));
        self.had.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (first, last) in self.had.drain(..).filter(|(_, last)| *last > self.head) {
            match merged.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        if let Some((_, last)) = merged.first().filter(|(first, _)| *first <= self.head + 1).copied() {
            self.head = last;
            merged.remove(0);
        }
        merged.truncate(MOST_SPANS);
        self.had = merged;
        self.skipped.retain(|number| *number >= self.head);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(lanes: &Lanes, lane: Lane) -> Option<(u64, u64, u64)> {
        lanes.next(lane).map(|span| (span.first, span.last, span.after))
    }

    #[test]
    fn one_lane_is_enough_for_a_few() {
        let mut lanes = Lanes::new(1, 0, 0);
        assert_eq!(span(&lanes, Lane::Backlog), None);
        lanes.extend(3);
        lanes.split();
        assert_eq!(span(&lanes, Lane::Backlog), Some((1, 3, 0)));
        assert_eq!(span(&lanes, Lane::Live), None);
        let sent = lanes.next(Lane::Backlog).unwrap();
        lanes.sent(Lane::Backlog, sent, 2);
        assert_eq!((span(&lanes, Lane::Backlog), lanes.waiting()), (Some((3, 3, 2)), 1));
    }

    #[test]
    fn what_happens_now_does_not_wait_for_last_week() {
        let mut lanes = Lanes::new(1, 100, 5000);
        lanes.split();
        assert_eq!(span(&lanes, Lane::Backlog), Some((101, 5000, 100)));
        assert_eq!(span(&lanes, Lane::Live), None);
        lanes.extend(5003);
        assert_eq!(span(&lanes, Lane::Live), Some((5001, 5003, 5000)));
        let live = lanes.next(Lane::Live).unwrap();
        lanes.sent(Lane::Live, live, 5003);
        assert_eq!((lanes.head(), lanes.waiting()), (100, 4900));
        let backlog = lanes.next(Lane::Backlog).unwrap();
        lanes.sent(Lane::Backlog, backlog, 5000);
        assert_eq!((lanes.head(), lanes.waiting()), (5003, 0));
        lanes.join();
        assert!(!lanes.is_split());
    }

    #[test]
    fn what_was_sent_before_a_failure_is_not_sent_again() {
        let mut lanes = Lanes::new(1, 0, 5000);
        lanes.split();
        lanes.extend(5010);
        let live = lanes.next(Lane::Live).unwrap();
        lanes.sent(Lane::Live, live, 5010);
        lanes.unite();
        lanes.extend(6000);
        assert_eq!(span(&lanes, Lane::Backlog), Some((1, 5000, 0)));
        let backlog = lanes.next(Lane::Backlog).unwrap();
        lanes.sent(Lane::Backlog, backlog, 5000);
        assert_eq!(span(&lanes, Lane::Backlog), Some((5011, 6000, 5010)));
    }

    #[test]
    fn what_is_not_for_the_backend_or_never_taken_is_passed_over() {
        let mut lanes = Lanes::new(501, 0, 510);
        assert_eq!(span(&lanes, Lane::Backlog), Some((501, 510, 0)));
        let first = lanes.next(Lane::Backlog).unwrap();
        lanes.skip(Lane::Backlog, first, 501);
        assert_eq!(span(&lanes, Lane::Backlog), Some((502, 510, 0)));
        let next = lanes.next(Lane::Backlog).unwrap();
        lanes.sent(Lane::Backlog, next, 505);
        let next = lanes.next(Lane::Backlog).unwrap();
        lanes.skip(Lane::Backlog, next, 506);
        assert_eq!(span(&lanes, Lane::Backlog), Some((507, 510, 505)));
        lanes.rewind(503);
        // What it never takes it does not take now either.
        assert_eq!(span(&lanes, Lane::Backlog), Some((504, 505, 503)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever comes and whatever fails, each event is sent, and the head is never past one that was not.
        #[test]
        fn every_event_is_sent(steps in prop::collection::vec((0_u8..5, 1_u64..1500), 1..60)) {
            let mut lanes = Lanes::new(1, 0, 0);
            let mut there = std::collections::BTreeSet::new();
            let (mut end, mut checked) = (0, 0);
            for (what, amount) in steps {
                match what {
                    0 => { end += amount; lanes.extend(end); }
                    1 => lanes.unite(),
                    2 => lanes.split(),
                    lane => {
                        let lane = if lane == 3 { Lane::Backlog } else { Lane::Live };
                        if let Some(span) = lanes.next(lane) {
                            prop_assert!(span.last <= end);
                            let last = span.last.min(span.first + amount.min(MOST) - 1);
                            there.extend(span.first..=last);
                            lanes.sent(lane, span, last);
                            lanes.join();
                        }
                    }
                }
                prop_assert!((checked + 1..=lanes.head()).all(|number| there.contains(&number)));
                checked = lanes.head();
                prop_assert_eq!(lanes.waiting(), end - there.len() as u64);
            }
            while let Some(lane) = [Lane::Live, Lane::Backlog].into_iter().find(|lane| lanes.next(*lane).is_some()) {
                let span = lanes.next(lane).unwrap();
                lanes.sent(lane, span, span.last);
            }
            prop_assert_eq!((lanes.head(), lanes.waiting()), (end, 0));
        }
    }
}
