//! One batch from the log to the backend, and what its answer is worth.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hostward_events::{Batch, FilesError, Head, Progress, Reader, digest};
use hostward_protocol::events::{Acknowledgement, RefusedEvent};
use tokio::sync::watch;

use super::aside;
use super::lanes::Span;
use crate::backend::{Api, Fault};
use crate::identity::{Identity, sha256_base64url};

/// What a batch is made of and sent with.
pub struct Sending {
    pub api: Api,
    pub identity: Arc<Identity>,
    pub log: PathBuf,
    pub reader: Reader,
    pub span: Span,
    pub bytes: usize,
    pub most: u64,
    /// Newest events that were acknowledged or sent, by which an answer is judged without looking into the log.
    pub known: Vec<Head>,
    /// What was acknowledged when this was sent.
    pub acknowledged: u64,
    /// How far the log has come.
    pub progress: watch::Receiver<Progress>,
}

/// What came of it.
pub struct Sent {
    pub reader: Reader,
    pub span: Span,
    pub took: Duration,
    pub result: Result<Outcome, Failure>,
    /// How many events were in it.
    pub count: u64,
    /// And bytes.
    pub bytes: usize,
}

pub struct Outcome {
    /// The last event of the batch.
    pub last: Head,
    /// The backend's word, checked.
    pub head: Believed,
    /// Numbers of events that it will never take, and how many of them could be set aside.
    pub refused: Vec<RefusedEvent>,
    /// Whether there was more than a batch takes.
    pub is_full: bool,
}

/// Why nothing was delivered.
pub enum Failure {
    /// There is no such event any more, nor any behind it.
    Gone,
    /// The log cannot be read.
    Log(FilesError),
    /// The backend.
    Backend(Fault),
}

/// What the backend says that it has, held against the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Believed {
    /// Nothing yet.
    Nothing,
    /// This, which the log has too.
    Head(Head),
    /// Less than it had said before.
    Behind(Option<Head>),
    /// What this host never sent.
    Ahead(u64),
    /// Another event than the one that was sent.
    Differs(u64),
    /// It cannot be told: the log does not have it any more.
    Unknown,
}

pub async fn send(sending: Sending) -> Sent {
    let Sending { api, identity, log, mut reader, span, bytes, most, known, acknowledged, progress } =
        sending;
    let began = Instant::now();
    let read = blocking(move || {
        let most = most.min(span.last - span.first + 1);
        let batch = reader.read(span.first, bytes, usize::try_from(most).unwrap_or(usize::MAX));
        (reader, batch)
    });
    let (reader, batch) = read.await;
    let mut sent =
        Sent { reader, span, took: Duration::ZERO, result: Err(Failure::Gone), count: 0, bytes: 0 };
    let batch = match batch {
        Ok(batch) => contiguous(batch, span.last),
        Err(error) => {
            sent.result = Err(Failure::Log(error));
            return sent;
        }
    };
    let Some(last) = batch.head.clone() else {
        return sent;
    };
    let body = body(&batch);
    (sent.count, sent.bytes) = (batch.lines.len() as u64, body.len());
    let key = sha256_base64url(&body);
    let answer = match api.deliver_events(&identity, body, span.after, &key).await {
        Ok(answer) => answer,
        Err(fault) => {
            if sent.count == 1 && aside::is_unacceptable(&fault) {
                let line = batch.lines.into_iter().next().unwrap_or_default();
                blocking(move || aside::set(&log, &[line])).await;
            }
            sent.took = began.elapsed();
            sent.result = Err(Failure::Backend(fault));
            return sent;
        }
    };
    sent.took = began.elapsed();
    let Acknowledgement { acknowledged: said, mut refused } = answer;
    refused.retain(|refused| batch.numbers.contains(&refused.sequence));
    let is_full = batch.next <= span.last;
    let (head, refused) = blocking({
        let last = last.clone();
        move || {
            let lines: Vec<Vec<u8>> = batch
                .lines
                .iter()
                .zip(&batch.numbers)
                .filter(|(_, number)| refused.iter().any(|refused| refused.sequence == **number))
                .map(|(line, _)| line.clone())
                .collect();
            if !lines.is_empty() {
                aside::set(&log, &lines);
            }
            let ours = |number: u64| {
                let at = batch.numbers.iter().position(|have| *have == number);
                let here = at.map(|at| digest(&batch.lines[at]));
                let known =
                    || known.iter().find(|head| head.sequence == number).map(|head| head.hash.clone());
                here.or_else(known).or_else(|| in_log(&log, number))
            };
            // The other lane may have brought more meanwhile.
            let end = progress.borrow().written.max(last.sequence);
            (believed(said, acknowledged, end, ours), refused)
        }
    })
    .await;
    sent.result = Ok(Outcome { last, head, refused, is_full });
    sent
}

/// Holds a head against the log. `acknowledged` is what was acknowledged before, `end` the newest event that there is: of
/// those that were not sent nobody else knows the hash.
pub fn believed(
    said: Option<Head>,
    acknowledged: u64,
    end: u64,
    ours: impl FnOnce(u64) -> Option<String>,
) -> Believed {
    let Some(said) = said else {
        return if acknowledged > 0 { Believed::Behind(None) } else { Believed::Nothing };
    };
    if said.sequence > end {
        return Believed::Ahead(said.sequence);
    }
    match ours(said.sequence) {
        Some(hash) if hash != said.hash => Believed::Differs(said.sequence),
        _ if said.sequence < acknowledged => Believed::Behind(Some(said)),
        Some(_) => Believed::Head(said),
        None => Believed::Unknown,
    }
}

/// The hash of an event of the log.
pub fn in_log(log: &std::path::Path, number: u64) -> Option<String> {
    let batch = Reader::new(log).read(number, 0, 1).ok()?;
    let line = batch.lines.first().filter(|_| batch.numbers.first() == Some(&number))?;
    Some(digest(line))
}

/// The first events of a batch, up to a gap.
fn contiguous(mut batch: Batch, last: u64) -> Batch {
    let Some(first) = batch.numbers.first().copied() else {
        return batch;
    };
    let follows = |(at, number): (usize, &u64)| *number == first + at as u64 && *number <= last;
    let count = batch.numbers.iter().enumerate().take_while(|pair| follows(*pair)).count();
    batch.numbers.truncate(count);
    batch.lines.truncate(count);
    batch.head = match (batch.lines.last(), batch.numbers.last()) {
        (Some(line), Some(number)) => Some(Head { sequence: *number, hash: digest(line) }),
        _ => None,
    };
    batch.next = batch.numbers.last().map_or(batch.next, |number| number + 1);
    batch
}

/// A JSON array of the lines, byte for byte.
fn body(batch: &Batch) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.lines.iter().map(|line| line.len() + 1).sum::<usize>() + 1);
    body.push(b'[');
    for (at, line) in batch.lines.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(line);
    }
    body.push(b']');
    body
}

/// What touches the disk does not hold the loop up.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // It is never cancelled.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64, hash: &str) -> Option<Head> {
        Some(Head { sequence, hash: hash.into() })
    }

    #[test]
    fn a_head_is_believed_only_where_the_log_has_it() {
        let judge = |said, acknowledged| {
            believed(said, acknowledged, 20, |number| (number >= 5).then(|| format!("h{number}")))
        };
        assert_eq!(judge(None, 0), Believed::Nothing);
        assert_eq!(judge(None, 10), Believed::Behind(None));
        assert_eq!(judge(head(20, "h20"), 10), Believed::Head(head(20, "h20").unwrap()));
        assert_eq!(judge(head(10, "h10"), 10), Believed::Head(head(10, "h10").unwrap()));
        assert_eq!(judge(head(9, "h9"), 10), Believed::Behind(head(9, "h9")));
        assert_eq!(judge(head(12, "h11"), 10), Believed::Differs(12));
        assert_eq!(judge(head(9, "x"), 10), Believed::Differs(9));
        assert_eq!(judge(head(21, "h21"), 10), Believed::Ahead(21));
        assert_eq!(judge(head(4, "h4"), 10), Believed::Behind(head(4, "h4")));
        assert_eq!(judge(head(4, "h4"), 0), Believed::Unknown);
    }

    #[test]
    fn a_batch_ends_at_a_gap() {
        let lines = vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()];
        let batch = Batch { lines, numbers: vec![7, 8, 10], next: 11, ..Batch::default() };
        let first = contiguous(batch.clone(), 100);
        assert_eq!((first.numbers.as_slice(), first.next), ([7, 8].as_slice(), 9));
        assert_eq!(body(&first), b"[a,b]");
        assert_eq!(contiguous(batch, 7).numbers, [7]);
    }
}
