//! Desired state and facts become a plan.
//!
//! Everything here is pure and total: no I/O, no clock, no randomness. All judgement is here; whoever
//! executes a plan makes no choices. [`Policy::read`] parses the admitted documents, [`desired::resolve`]
//! decides what they mean on this host and refuses entries one by one, [`plan`] orders the differences
//! between that and what was observed.

mod account;
mod client_config;
pub mod desired;
pub mod explain;
pub mod facts;
mod host_certificate;
pub mod ledger;
mod planning;
pub mod policy;
mod refusal;
mod resolve;
pub mod selector;
pub mod sshd;
pub mod step;
pub mod sudoers;
mod text;
mod trust;

pub use desired::{Desired, resolve, resolve_without_policy};
pub use explain::explain;
pub use facts::Facts;
pub use ledger::Ledger;
pub use planning::{not_repaired, plan, plan_without_policy, unenroll};
pub use policy::Policy;
pub use step::{Plan, Step};
