//! `check-library.sh` refuses a library for each single reason there is, and a reachable panic does not link.
#![allow(missing_docs)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const FUNCTIONS: [&str; 15] = [
    "getpwnam_r",
    "getpwuid_r",
    "setpwent",
    "getpwent_r",
    "endpwent",
    "getgrnam_r",
    "getgrgid_r",
    "setgrent",
    "getgrent_r",
    "endgrent",
    "getspnam_r",
    "setspent",
    "getspent_r",
    "endspent",
    "initgroups_dyn",
];

/// Without the last, shadow from 4.16 on would use its files instead.
const SUBID_FUNCTIONS: [&str; 4] = ["has_range", "list_owner_ranges", "find_subid_owners", "free"];

/// What is linked as the module is (`build.rs`), but for the library's name.
const LINKED: [&str; 6] =
    ["-Wl,-z,defs", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,nodelete", "-Wl,--as-needed"];
const NAMED: &str = "-Wl,-soname,libnss_hostward.so.2";

struct Library {
    source: String,
    flags: Vec<&'static str>,
}

impl Library {
    /// One that is fit to ship.
    fn fit() -> Self {
        let function = |name: &&str| format!("int _nss_hostward_{name}(void) {{ return 0; }}\n");
        let source: String = FUNCTIONS.iter().map(function).collect();
        // Something that it may ask of libc.
        let source = source.replace(
            "int _nss_hostward_endpwent(void) { return 0; }",
            "void *memmove(void *, void *, long);\nint _nss_hostward_endpwent(void) { return (long) memmove(0, 0, 0); }",
        );
        Self { source, flags: LINKED.into_iter().chain([NAMED]).collect() }
    }

    /// The subordinate id module, fit to ship.
    fn subids() -> Self {
        let function = |name: &&str| format!("int shadow_subid_{name}(void) {{ return 0; }}\n");
        let source: String = SUBID_FUNCTIONS.iter().map(function).collect();
        let source = source.replace(
            "int shadow_subid_free(void) { return 0; }",
            "void free(void *);\nvoid shadow_subid_free(void *array) { free(array); }",
        );
        Self { source, flags: LINKED.into_iter().chain(["-Wl,-soname,libsubid_hostward.so"]).collect() }
    }

    fn with(mut self, source: &str) -> Self {
        self.source.push_str(source);
        self
    }

    /// Linked with these as well, which come last and so have the last word.
    fn linked(mut self, flags: &[&'static str]) -> Self {
        self.flags.extend(flags);
        self
    }

    fn renaming(mut self, from: &str, to: &str) -> Self {
        assert!(self.source.contains(from));
        self.source = self.source.replace(from, to);
        self
    }

    fn build(&self, directory: &Path) -> PathBuf {
        let (source, library) = (directory.join("library.c"), directory.join("library.so"));
        fs::write(&source, &self.source).expect("writes");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-fno-stack-protector", "-nostartfiles", "-fno-builtin", "-w"])
            .args(["-ftls-model=initial-exec", "-o"])
            .args([&library, &source])
            .args(&self.flags)
            .output()
            .expect("a C compiler");
        assert!(output.status.success(), "{}", said(&output));
        library
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(file: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("check-library.sh");
    Command::new("sh").arg(script).arg(file).output().expect("runs")
}

/// The library that the others are made from is fit, and each of these is refused for its reason alone.
#[track_caller]
fn each_is_refused(fit: &Library, cases: &[(Library, &str)]) {
    let directory = TempDir::new().expect("a directory");
    let output = check(&fit.build(directory.path()));
    assert_eq!(output.status.code(), Some(0), "what the others are made from is fit\n{}", said(&output));
    for (library, reason) in cases {
        let output = check(&library.build(directory.path()));
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{reason}\n{said}");
        assert!(said.contains(reason), "{reason}\n{said}");
        assert_eq!(said.lines().count(), 1, "for that reason alone\n{said}");
    }
}

/// A call of something, with nothing else that is wrong.
fn calling(declaration: &str, call: &str) -> Library {
    Library::fit()
        .renaming("int _nss_hostward_setpwent(void) { return 0; }", "")
        .with(&format!("{declaration};\nlong _nss_hostward_setpwent(void) {{ return (long) {call}; }}\n"))
}

#[test]
fn a_library_is_refused_for_each_single_reason() {
    let fit = Library::fit;
    let cases = [
        (fit().linked(&["-Wl,-soname,libnss_other.so.2"]), "its SONAME is \"libnss_other.so.2\""),
        (fit().linked(&["-Wl,--no-as-needed", "-lm"]), "it needs libm.so.6 libc.so.6"),
        (
            calling("static __thread volatile int local", "local++"),
            "it has thread-local storage, which a late dlopen may not get",
        ),
        (fit().linked(&["-Wl,-z,execstack"]), "its stack is executable"),
        (fit().linked(&["-Wl,-z,norelro"]), "it is linked without relro"),
        (
            fit().with("__asm__(\".section .both,\\\"awx\\\",@progbits\\n .long 0\\n .previous\");\n"),
            "a segment is writable and executable",
        ),
        (fit().linked(&["-Wl,-z,lazy"]), "it is linked without -z now"),
        (
            fit()
                .with("__asm__(\".text\\n .balign 8\\n .quad _nss_hostward_setpwent\\n\");\n")
                .linked(&["-Wl,-z,notext"]),
            "it has text relocations",
        ),
        (fit().linked(&["-Wl,-rpath,/tmp", "-Wl,--enable-new-dtags"]), "it has a search path for libraries"),
        (fit().linked(&["-Wl,-rpath,/tmp", "-Wl,--disable-new-dtags"]), "it has a search path for libraries"),
        (fit().with("int malloc_usable_size(void) { return 0; }\n"), "it exports 16 symbols"),
        (fit().with("int exported_data = 1;\n"), "it exports 16 symbols"),
        (fit().renaming("int _nss_hostward_endspent", "static int endspent"), "it exports 14 symbols"),
        (fit().renaming("_nss_hostward_endspent", "_nss_hostward_endhostent"), "it exports 15 symbols"),
        (calling("void *malloc(long)", "malloc(1)"), "it calls malloc"),
        (calling("void free(void *)", "(free(0), 0)"), "it calls free"),
        (calling("char *getenv(char *)", "getenv(\"HOME\")"), "it calls getenv"),
        (calling("char *secure_getenv(char *)", "secure_getenv(\"HOME\")"), "it calls secure_getenv"),
        (calling("extern char **__environ", "__environ"), "it calls __environ"),
        (calling("int open(char *, int)", "open(\"/\", 0)"), "it calls open"),
        (calling("int close(int)", "close(0)"), "it calls close"),
        (calling("int pthread_mutex_lock(void *)", "pthread_mutex_lock(0)"), "it calls pthread_mutex_lock"),
        (calling("void syslog(int, char *)", "(syslog(0, \"\"), 0)"), "it calls syslog"),
        (calling("int socket(int, int, int)", "socket(0, 0, 0)"), "it calls socket"),
        (calling("void abort(void)", "(abort(), 0)"), "it calls abort"),
        (
            fit().with("static __attribute__((used)) void rust_panic(void) {}\n"),
            "a panic is reachable, or std is linked",
        ),
    ];
    each_is_refused(&fit(), &cases);
}

#[test]
fn so_is_the_subordinate_id_module() {
    let fit = Library::subids;
    let has_range = "int shadow_subid_has_range(void) { return 0; }";
    let calling = |declaration: &str, call: &str| {
        let function = format!("{declaration};\nint shadow_subid_has_range(void) {{ return {call} != 0; }}");
        fit().renaming(has_range, &function)
    };
    let cases = [
        (
            fit().renaming("void shadow_subid_free", "__attribute__((used)) static void subid_free"),
            "it exports 3 symbols, not the 4",
        ),
        (fit().with("int _nss_hostward_endpwent(void) { return 0; }\n"), "it exports 5 symbols, not the 4"),
        (calling("char *getenv(char *)", "getenv(\"HOME\")"), "it calls getenv"),
        (calling("void *getpwnam(char *)", "getpwnam(\"root\")"), "it calls getpwnam"),
        (calling("void *dlopen(char *, int)", "dlopen(\"x\", 1)"), "it calls dlopen"),
    ];
    each_is_refused(&fit(), &cases);
}

#[test]
fn what_is_no_library_is_not_passed_over() {
    let directory = TempDir::new().expect("a directory");
    assert_eq!(check(&directory.path().join("missing")).status.code(), Some(2));
    let text = directory.path().join("text");
    fs::write(&text, "text").expect("writes");
    assert_ne!(check(&text).status.code(), Some(0));
    assert_eq!(
        check(&std::env::current_exe().expect("a path")).status.code(),
        Some(1),
        "a program that links std"
    );
}

/// The module's own panic handler, in a library that does this with a slice and an index.
fn links_with_the_panic_handler(body: &str) -> Output {
    let directory = TempDir::new().expect("a directory");
    let source = directory.path().join("library.rs");
    let handler = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/panic.rs");
    let text = format!(
        "#![no_std]\n#[path = {handler:?}]\nmod panic;\n#[unsafe(no_mangle)]\n\
         pub extern \"C\" fn ask(bytes: &[u8; 8], at: usize) -> u8 {{ let bytes: &[u8] = bytes; {body} }}\n"
    );
    fs::write(&source, text).expect("writes");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    Command::new(compiler)
        .args(["--edition", "2024", "--crate-type", "cdylib", "-Copt-level=3", "-Cpanic=abort"])
        .args(["-Clink-arg=-Wl,-z,defs", "--out-dir"])
        .arg(directory.path())
        .arg(&source)
        .output()
        .expect("a compiler")
}

#[test]
fn a_reachable_panic_does_not_link() {
    let output = links_with_the_panic_handler("bytes.get(at).copied().unwrap_or_default()");
    assert!(output.status.success(), "{}", said(&output));
    for body in [
        "bytes[at]",
        "bytes[at..][0]",
        "bytes.get(at).copied().unwrap()",
        "(8 / at) as u8",
        "bytes.split_at(at).0[0]",
        "let mut to = [0; 4]; to.copy_from_slice(&bytes[..at & 7]); to[0]",
    ] {
        let output = links_with_the_panic_handler(body);
        assert!(!output.status.success(), "{body}");
        assert!(said(&output).contains("hostward_nss_a_panic_is_reachable"), "{body}\n{}", said(&output));
    }
}
