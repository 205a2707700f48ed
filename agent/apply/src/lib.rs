//! The root process: admits the policy, observes the host, plans, applies, reports.
//!
//! It has no network and believes only what the project's keys signed. Whatever comes from the agent (the inbox, a
//! request) is an enemy's until that is proven. All judgement about the policy is in `hostward-plan`; here is what
//! touches the host.

pub mod admit;
pub mod bus;
pub mod command;
pub mod distrust;
pub mod durable;
pub mod effect;
pub mod engine;
pub mod enrollment;
pub mod finding;
mod grants;
pub mod inbox;
pub mod journal;
mod narrate;
pub mod observe;
pub mod processes;
mod records;
pub mod report;
pub mod root;
pub mod serve;
pub mod sessions;
pub mod state;
pub mod store;
pub mod trust;
mod untold;

pub use root::Root;
