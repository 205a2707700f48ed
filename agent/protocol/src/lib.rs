//! What backend and host, and the host's own processes, say to each other, as types.
//!
//! Everything here is a shape on the wire. Values are as loose as the wire is: what may be believed
//! of them is decided by `hostward-plan`, not here. No I/O.

pub mod api;
pub mod causes;
pub mod document;
pub mod events;
pub mod grants;
pub mod local;
pub mod problem;
pub mod report;
pub mod service;
pub mod token;
