//! sshd: certificates that it must refuse, local logins that must go on as without hostward, and its configuration in
//! all the shapes that operators give it.

mod activation;
mod certificates;
mod revocation_list;
mod unchanged;
