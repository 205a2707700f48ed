//! Against what OpenSSH 9.2 sent and made: `golden` holds requests of a real ssh to its agent, that agent's answers, and
//! certificates of ssh-keygen.

mod certificates;
mod hostile;
mod judging;
mod sessions;
mod world;
