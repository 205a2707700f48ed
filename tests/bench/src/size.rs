//! Sizes of what is installed.

use anyhow::Result;
use hostward_host_tests::{Fixture, Release, new_lab, package};

use crate::figures::Table;

const FILES: &[&str] = &[
    "/usr/bin/hostward",
    "/usr/lib/hostward/hostward-agent",
    "/usr/lib/hostward/hostward-apply",
    "/usr/lib/hostward/hostward-principals",
    "/usr/lib/x86_64-linux-gnu/libnss_hostward.so.2",
];

/// The package file and each program in it.
pub fn measure(table: &mut Table, release: Release) -> Result<()> {
    let deb = package();
    table.add("package", format!("{} bytes", std::fs::metadata(&deb)?.len()));
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    for file in FILES {
        let size = fixture.host.ok(&format!("stat -L -c %s {file}"));
        table.add(file, format!("{} bytes", size.trim()));
    }
    Ok(())
}
