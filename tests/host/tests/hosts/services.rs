//! Service users, on a site of four hosts: `ci`, where account jenkins has uid 112, a `bastion`, `web1` behind it and
//! `web2` behind `web1`. No key of any of them is on any disk.

mod container;
mod site;
mod walk;
