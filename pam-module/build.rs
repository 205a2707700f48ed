//! What the linker must do so that the module is fit to be loaded into sshd, sudo and whoever else asks PAM.

use std::path::Path;

/// Where hosts that build it have PAM itself; the headers and the link of libpam0g-dev are not needed.
const LIBPAM: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/libpam.so.0",
    "/lib/x86_64-linux-gnu/libpam.so.0",
    "/usr/lib64/libpam.so.0",
    "/usr/lib/libpam.so.0",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let arguments = [
        "-Wl,-soname,pam_hostward.so",
        "-Wl,-z,relro",
        "-Wl,-z,now",
        "-Wl,-z,noexecstack",
        "-Wl,--hash-style=gnu",
        // PAM unloads modules at its end, when std's thread-local data may still be to be destroyed.
        "-Wl,-z,nodelete",
    ];
    for argument in arguments {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    let libpam = LIBPAM.iter().find(|path| Path::new(path).exists());
    match libpam {
        Some(libpam) => {
            println!("cargo:rustc-link-arg={libpam}");
        }
        None => println!(
            "cargo:warning=libpam.so.0 is in none of its places: the module will not name what it needs"
        ),
    }
}
