//! Prints the certificate principals of one managed user, for sshd

fn main() {}
