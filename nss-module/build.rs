//! What the linker must do so that the library is fit to be loaded into every process.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let arguments = [
        // glibc looks for this name, whatever cargo calls the file.
        "-Wl,-soname,libnss_hostward.so.2",
        // Nothing may be left to find at run time: a reachable panic is an undefined symbol (src/panic.rs).
        "-Wl,-z,defs",
        "-Wl,-z,relro",
        "-Wl,-z,now",
        "-Wl,-z,noexecstack",
        // Nothing is to be run when the library is loaded, and each symbol that need not be looked for makes that faster.
        "-nostartfiles",
        "-Wl,--hash-style=gnu",
        // A thread may be in a lookup while another unloads the module.
        "-Wl,-z,nodelete",
    ];
    for argument in arguments {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
