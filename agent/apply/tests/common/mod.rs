//! What these tests share: a project's signed repository, and a directory that looks like a host.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod host;
pub mod policy;
pub mod repository;
