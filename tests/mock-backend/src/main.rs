//! A backend for tests and demonstrations

fn main() {}
