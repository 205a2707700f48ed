//! Serves the TUF library from the inbox, and from the committed store what has not changed.
//!
//! Only "not found" is returned by `fetch` itself: the library takes any error there for "no newer root".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tough::{Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

use crate::inbox::{Inbox, InboxError, Name};

/// What the library asked for that was not simply missing.
#[derive(Debug)]
pub enum Trouble {
    /// The inbox refused the file.
    Inbox(InboxError),
    /// An unversioned name: the root does not demand consistent snapshots.
    NotConsistent,
    /// A name that only a delegated role has.
    Delegated,
}

/// Where the library reads from.
#[derive(Clone, Debug)]
pub struct Sources(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inbox: Inbox,
    committed: BTreeMap<String, Bytes>,
    served: Mutex<BTreeMap<String, Bytes>>,
    trouble: Mutex<Option<Trouble>>,
}

impl Sources {
    /// `committed` are metadata files of the store, by name, for what the inbox does not have.
    pub fn new(inbox: Inbox, committed: BTreeMap<String, Bytes>) -> Sources {
        Sources(Arc::new(Shared { inbox, committed, served: Mutex::default(), trouble: Mutex::default() }))
    }

    /// The bytes of a metadata file that was served.
    pub fn served(&self, name: &str) -> Option<Bytes> {
        let served = self.0.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.get(name).cloned()
    }

    /// What went wrong, if something did. Asked once.
    pub fn trouble(&self) -> Option<Trouble> {
        let mut trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.take()
    }

    fn read(&self, name: &str) -> Result<Bytes, Trouble> {
        let Some(parsed) = Name::parse(name) else {
            return Err(match name {
                "snapshot.json" | "targets.json" => Trouble::NotConsistent,
                _ => Trouble::Delegated,
            });
        };
        let bytes = match self.0.inbox.read(name) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.is_not_found() => match self.0.committed.get(name) {
                Some(bytes) => bytes.clone(),
                None => return Err(Trouble::Inbox(error)),
            },
            Err(error) => return Err(Trouble::Inbox(error)),
        };
        if !matches!(parsed, Name::Target(_)) {
            let mut served = self.0.served.lock().unwrap_or_else(PoisonError::into_inner);
            served.insert(name.into(), bytes.clone());
        }
        Ok(bytes)
    }
}

#[async_trait]
impl Transport for Sources {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let name = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
        let item = match self.read(name) {
            Ok(bytes) => Ok(bytes),
            Err(Trouble::Inbox(error)) if error.is_not_found() => {
                return Err(TransportError::new(TransportErrorKind::FileNotFound, &url));
            }
            Err(trouble) => {
                let mut noted = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                noted.get_or_insert(trouble);
                Err(TransportError::new(TransportErrorKind::Other, &url))
            }
        };
        Ok(Box::pin(futures_util::stream::iter([item])))
    }
}
