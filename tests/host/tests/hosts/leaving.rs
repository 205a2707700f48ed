//! When a person loses login: nothing of theirs goes on, nothing of anybody else's ends, and what becomes of their home and
//! their number is as the policy says.

mod homes;
mod package;
mod processes;
mod sessions;
