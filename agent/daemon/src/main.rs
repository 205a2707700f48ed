//! The network process: enrolls, mirrors the policy, delivers reports

fn main() {}
