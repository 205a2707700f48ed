//! What the installed package does on a host, subject by subject. One program, so that no host waits for those of
//! another subject to end.

mod accounts;
mod bindings;
mod command_line;
mod delivery;
mod drift;
mod enrollment;
mod events;
mod faults;
mod host_certificates;
mod install;
mod leaving;
mod pam;
mod policy;
mod privileges;
mod services;
mod sessions;
mod siem;
mod sshd;
mod step_ca;
mod subordinate_ids;
mod sudo;
