//! sudo: what an entitlement means is what `sudo -l` says and what sudo then does, and nothing else.

mod clash;
mod kinds;
mod people;
mod property;
mod text;
