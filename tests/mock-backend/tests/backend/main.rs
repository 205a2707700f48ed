//! The backend on a real socket, asked by clients that share no code with it: `tough` for the
//! repository, `reqwest` for the rest.

#![allow(clippy::unwrap_used)]

mod command_line;
mod credentials;
mod enrollment;
mod events;
mod hosts;
mod misbehaviour;
mod openapi;
mod polling;
mod repository;
mod services;
mod signing_faults;
mod ssh;
mod support;
