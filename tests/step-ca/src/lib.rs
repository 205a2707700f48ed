//! A real step-ca on loopback, something that only looks like one, and who asks them.

mod ca;
mod client;
mod impostor;

pub use ca::{Ca, PASSWORD, jwk};
pub use client::{Client, configuration};
pub use impostor::{Impostor, Page};
