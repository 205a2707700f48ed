//! The root process: admits, observes, plans, applies, reports

fn main() {}
