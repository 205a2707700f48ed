//! A host without its root process: the real agent, the real mock backend, and a script in root's place.
//!
//! ```no_run
//! let backend = hostward_contract_tests::Backend::start();
//! let host = hostward_contract_tests::Host::new(&backend);
//! host.root.hand_out(&backend.token());
//! let agent = host.start();
//! host.until_enrolled();
//! # drop(agent);
//! ```

mod agent;
mod backend;
mod binary;
mod host;
mod root;
mod service;
mod tunnel;
mod wait;

pub use agent::Agent;
pub use backend::Backend;
pub use host::{BOOT, Host};
pub use root::{Admission, Root};
pub use service::{Account, HOMELESS, JENKINS, SECOND, STRANGER, Service, UNKNOWN};
pub use tunnel::Tunnel;
pub use wait::{PATIENCE, until, within};
