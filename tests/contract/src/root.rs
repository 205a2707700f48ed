//! A script in root's place: a real socket, every request recorded, answers as the test has it.
//!
//! Unless told otherwise it does with the inbox what root does, signatures aside: it keeps a store of the
//! documents that it accepted, and misses those that neither the store nor the inbox has.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};
use hostward_protocol::local::{ApplyReply, ApplyRequest, EnrollmentOutcome, HostStatus, TokenState};
use hostward_protocol::report::{Cause, Finding, PolicyState, Report, Responsible, Staleness};

/// Where things are on the host of a test.
#[derive(Clone, Debug)]
pub struct Places {
    /// Root's socket.
    pub socket: PathBuf,
    /// The agent's inbox.
    pub inbox: PathBuf,
    /// What root tells everybody.
    pub status: PathBuf,
    /// The token file, whose content only root reads.
    pub token: PathBuf,
}

/// What was in the inbox when the agent asked for an admission.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Names of the files.
    pub files: BTreeSet<String>,
    /// Version of the timestamp.
    pub version: u64,
    /// Whether it was accepted.
    pub accepted: bool,
}

impl Admission {
    /// The policy documents among the files.
    pub fn documents(&self) -> Vec<&str> {
        self.files
            .iter()
            .filter(|name| name.as_bytes().get(64) == Some(&b'.'))
            .map(|name| &name[65..])
            .collect()
    }
}

/// The script.
#[derive(Clone)]
pub struct Root {
    places: Places,
    state: Arc<Mutex<State>>,
}

struct State {
    /// What the operator put there.
    file: Option<TokenState>,
    /// What it was read as, until the enrollment ends.
    held: TokenState,
    project: Option<String>,
    store: BTreeSet<String>,
    policy: Option<PolicyState>,
    refuse: Option<Finding>,
    demanded_root: Option<u64>,
    deaf: bool,
    token_reads: u32,
    outcomes: Vec<EnrollmentOutcome>,
    admissions: Vec<Admission>,
}

impl Root {
    /// Listens, with no token to hand out.
    pub fn start(places: Places) -> Self {
        let listener = UnixListener::bind(&places.socket).expect("cannot listen in root's place");
        let state = State {
            file: None,
            held: TokenState::Absent,
            project: None,
            store: BTreeSet::new(),
            policy: None,
            refuse: None,
            demanded_root: None,
            deaf: false,
            token_reads: 0,
            outcomes: Vec::new(),
            admissions: Vec::new(),
        };
        let root = Root { places, state: Arc::new(Mutex::new(state)) };
        let serving = root.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.serve(stream);
            }
        });
        root
    }

    /// Puts a token where the agent notices it.
    pub fn hand_out(&self, token: &TokenState) {
        self.state().file = Some(token.clone());
        std::fs::write(&self.places.token, "only root reads this").expect("cannot write the token");
    }

    /// Refuses every admission from now on, or no more.
    pub fn refuse(&self, reason: Option<&str>) {
        self.state().refuse = reason.map(finding);
    }

    /// Was pinned anew: the next admission needs the chain from this `root.json` on.
    pub fn demand_root(&self, version: u64) {
        self.state().demanded_root = Some(version);
    }

    /// Ends every connection without an answer, or no more.
    pub fn set_deaf(&self, deaf: bool) {
        self.state().deaf = deaf;
    }

    /// Forgets all that it accepted.
    pub fn lose_store(&self) {
        let mut state = self.state();
        state.store.clear();
        state.policy = None;
        self.write_status(&state);
    }

    /// Drops documents from its store and tells nobody.
    pub fn lose_documents(&self) {
        self.state().store.clear();
    }

    /// Writes its status as after an apply of its own.
    pub fn apply_by_itself(&self, later: TimeDelta) {
        let state = self.state();
        self.write_status_at(&state, Utc::now() + later, true);
    }

    /// How enrollments ended, as the agent told.
    pub fn outcomes(&self) -> Vec<EnrollmentOutcome> {
        self.state().outcomes.clone()
    }

    /// How often the agent asked for a token.
    pub fn token_reads(&self) -> u32 {
        self.state().token_reads
    }

    /// What the agent put before it.
    pub fn admissions(&self) -> Vec<Admission> {
        self.state().admissions.clone()
    }

    /// Waits until a version is in force.
    pub fn until_accepted(&self, version: u64) -> Admission {
        crate::until(&format!("version {version} accepted"), || {
            let state = self.state();
            state.admissions.iter().find(|a| a.accepted && a.version >= version).cloned()
        })
    }

    /// Waits until there were so many admissions.
    pub fn until_admissions(&self, count: usize) -> Vec<Admission> {
        crate::until(&format!("{count} admissions"), || {
            Some(self.admissions()).filter(|admissions| admissions.len() >= count)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a test failed")
    }

    fn serve(&self, mut stream: UnixStream) {
        if self.state().deaf {
            return;
        }
        let mut line = String::new();
        let read = BufReader::new(&stream).read_line(&mut line);
        let Some(request) = read.ok().and_then(|_| serde_json::from_str(&line).ok()) else {
            return;
        };
        let reply = self.answer(request);
        let mut text = serde_json::to_string(&reply).expect("not JSON");
        text.push('\n');
        // The agent may have been killed meanwhile.
        let _ = stream.write_all(text.as_bytes());
    }

    fn answer(&self, request: ApplyRequest) -> ApplyReply {
        let mut state = self.state();
        match request {
            ApplyRequest::ReadToken => {
                state.token_reads += 1;
                match state.file.clone() {
                    Some(unusable @ TokenState::Unusable(_)) => {
                        return ApplyReply::Enrollment(unusable);
                    }
                    Some(token) => {
                        // As root does, it takes the file away before it hands out the secret.
                        let _ = std::fs::remove_file(&self.places.token);
                        if let TokenState::Ready { project, .. } = &token {
                            state.project = Some(project.clone());
                        }
                        state.held = token;
                        state.file = None;
                    }
                    None => {}
                }
                ApplyReply::Enrollment(state.held.clone())
            }
            ApplyRequest::FinishEnrollment { outcome } => {
                state.outcomes.push(outcome);
                state.held = TokenState::Absent;
                ApplyReply::Ok
            }
            ApplyRequest::Admit => {
                let report = self.admit(&mut state);
                self.write_status_at(&state, report.at, false);
                ApplyReply::Report(Box::new(report))
            }
            other => ApplyReply::Failed(finding(&format!("the agent must not ask for {other:?}"))),
        }
    }

    fn admit(&self, state: &mut State) -> Report {
        let files = names(&self.places.inbox);
        let timestamp = self.metadata("timestamp.json");
        let version = timestamp["signed"]["version"].as_u64().unwrap_or(0);
        let targets = self.metadata(&format!("{version}.targets.json"));
        let wanted: BTreeSet<String> = targets["signed"]["targets"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, d)| Some(format!("{}.{name}", d["hashes"]["sha256"].as_str()?)))
            .collect();
        let have: BTreeSet<String> = state.store.union(&files).cloned().collect();
        let missing = wanted.difference(&have).next();
        let lacks_root = state.demanded_root.is_some_and(|v| !files.contains(&format!("{v}.root.json")));
        let refusal = match (&state.refuse, missing) {
            (Some(reason), _) => Some(reason.clone()),
            _ if lacks_root => Some(Finding { code: "pinned-root-missing".into(), ..finding("no root") }),
            (None, Some(name)) => Some(Finding { code: "target-missing".into(), ..finding(name) }),
            (None, None) if wanted.is_empty() => Some(finding("no targets")),
            (None, None) => None,
        };
        if refusal.is_none() {
            state.store = wanted;
            state.demanded_root = None;
            state.policy = Some(PolicyState {
                version,
                root_version: newest_root(&files).max(state.policy.as_ref().map_or(1, |p| p.root_version)),
                expires: Utc::now() + TimeDelta::days(1),
                staleness: Staleness::Fresh,
            });
        }
        state.admissions.push(Admission { files, version, accepted: refusal.is_none() });
        Report {
            project: state.project.clone(),
            policy: state.policy.clone(),
            admission: refusal,
            users: 2,
            ..Report::new(Cause::Admission, Utc::now(), "0.1.0")
        }
    }

    fn metadata(&self, name: &str) -> serde_json::Value {
        let bytes = std::fs::read(self.places.inbox.join(name)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write_status(&self, state: &State) {
        self.write_status_at(state, Utc::now(), false);
    }

    fn write_status_at(&self, state: &State, at: DateTime<Utc>, untold: bool) {
        let status = HostStatus {
            at,
            version: "0.1.0".into(),
            project: state.project.clone(),
            trust: Some("token".into()),
            policy: state.policy.clone(),
            admission: None,
            failures: Vec::new(),
            refused: 0,
            warnings: 0,
            users: 2,
            untold,
        };
        let new = self.places.status.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&status).expect("not JSON")).expect("cannot write");
        std::fs::rename(new, &self.places.status).expect("cannot rename");
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn newest_root(files: &BTreeSet<String>) -> u64 {
    files.iter().filter_map(|n| n.strip_suffix(".root.json")?.parse().ok()).max().unwrap_or(0)
}

fn finding(message: &str) -> Finding {
    Finding {
        code: "scripted".into(),
        subject: "policy".into(),
        message: message.into(),
        responsible: Responsible::Backend,
        mend: "end the test".into(),
    }
}
