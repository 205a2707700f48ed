//! Policy, facts and time in; plans and findings out. A model takes the steps.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod certificates;
mod explained;
mod golden;
mod granted;
mod hostile;
mod model;
mod operator_bindings;
mod properties;
mod services;
mod visudo;
mod world;
