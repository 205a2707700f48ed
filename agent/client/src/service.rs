//! Service users: what their local accounts type, and what their ssh runs.
//!
//! Everything is asked of the SSH agent, which goes by the uid of whoever runs this. Nothing here is trusted by it.

mod agent;
mod go;
mod pump;
mod resolve;
mod settings;
mod ssh_options;
mod state;

pub use agent::ServiceError;
pub use go::{block, proxycommand, ssh};
pub use resolve::{Loudness, run as resolve};
pub use settings::run as config;
pub use state::{State, of_caller};
