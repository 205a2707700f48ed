//! What the linker must do so that the library is fit to be loaded into setuid programs.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let arguments = [
        "-Wl,-soname,libsubid_hostward.so",
        // Nothing may be left to find at run time: a reachable panic is an undefined symbol (../src/panic.rs).
        "-Wl,-z,defs",
        "-Wl,-z,relro",
        "-Wl,-z,now",
        "-Wl,-z,noexecstack",
    ];
    for argument in arguments {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
