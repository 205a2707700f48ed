//! Arbitrary sudo commands, as a policy may hold them, and command lines that are nearly what they mean.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Below this every generated program is.
pub const PROBES: &str = "/opt/p/";

/// Text that means something to some reader of sudoers, or to a shell.
const WORDS: &[&str] = &[
    "",
    " ",
    " a",
    "a ",
    "a b",
    "a\tb",
    "a  b",
    "ALL",
    "!ALL",
    "!",
    "sudoedit",
    "list",
    "NOPASSWD:",
    "NOPASSWD: ALL",
    "^.*$",
    "^",
    "$",
    "*",
    "**",
    "?",
    "[a-z]",
    "[!a]",
    "\\*",
    "\\",
    "\\\\",
    "a\\",
    "\\a",
    "\\ ",
    "\\,",
    "\"\"",
    "\"",
    "\"a b\"",
    "''",
    "'",
    "#",
    "#0",
    "a#b",
    " #",
    "#include /tmp/x",
    "#includedir /tmp",
    "@include /tmp/x",
    "@",
    "sha256:00",
    "sha224:AAAA",
    "%admins",
    "%",
    "+net",
    "A=B",
    "a,b",
    ",",
    "a, /bin/sh",
    ", ALL",
    ":",
    "a:b",
    "=",
    "(root)",
    "(ALL) ALL",
    "a\nALL",
    "\n",
    "a\n",
    "a\\\nb",
    "\r",
    "\u{7f}",
    "\u{1}",
    "..",
    ".",
    "../../bin/sh",
    "/",
    "//",
    "-",
    "--",
    "-u",
    "~",
    "~root",
    "${HOME}",
    "$(id)",
    "`id`",
    "é",
    "\u{202e}",
    "\u{feff}",
    "日本",
    "{a,b}",
    "<a>",
    ";",
    "a;b",
    "&",
    "|",
    "TIMEOUT=1",
    "CWD=/",
    "ROLE=a",
    "alice",
    "User_Alias",
    "Defaults",
];

/// What generated text is made of: half of it plain, so that some of it is accepted.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        12 => prop::sample::select("abcdefgxyz0189._-".chars().collect::<Vec<_>>()),
        6 => prop::sample::select("\\,:=#*?[]\"'!()@%+~{}<>;&|$`^/ \t".chars().collect::<Vec<_>>()),
        1 => any::<char>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => vec(character(), 1..10).prop_map(String::from_iter),
        2 => prop::sample::select(WORDS).prop_map(str::to_owned),
        2 => "[a-z0-9][a-z0-9._/-]{0,8}",
    ]
}

/// What one command of an entitlement says.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// `executable` with any arguments.
    Any(String),
    /// `executable` with exactly these; none where empty.
    Exact(String, Vec<String>),
    /// `directory`.
    Directory(String),
    /// `raw`, which these hosts do not allow.
    Raw(String),
}

/// Any command at all.
pub fn command() -> impl Strategy<Value = Meaning> {
    let path = || {
        prop_oneof![
            4 => "[a-z0-9][a-z0-9._-]{0,8}".prop_map(|name| format!("{PROBES}{name}")),
            5 => text().prop_map(|name| format!("{PROBES}{name}")),
            1 => text(),
        ]
    };
    let directory = prop_oneof![
        4 => text().prop_map(|name| format!("{PROBES}{name}/")),
        1 => text().prop_map(|name| format!("{PROBES}{name}")),
    ];
    prop_oneof![
        2 => path().prop_map(Meaning::Any),
        1 => path().prop_map(|path| Meaning::Exact(path, Vec::new())),
        8 => (path(), vec(text(), 1..5)).prop_map(|(path, arguments)| Meaning::Exact(path, arguments)),
        2 => directory.prop_map(Meaning::Directory),
        1 => path().prop_map(Meaning::Raw),
    ]
}

impl Meaning {
    /// The same, in a directory where no other's programs are in its way.
    pub fn below(self, directory: &str) -> Self {
        let moved = |path: String| match path.strip_prefix(PROBES) {
            Some(name) => format!("{directory}{name}"),
            None => path,
        };
        match self {
            Meaning::Any(path) => Meaning::Any(moved(path)),
            Meaning::Exact(path, arguments) => Meaning::Exact(moved(path), arguments),
            Meaning::Directory(path) => Meaning::Directory(moved(path)),
            Meaning::Raw(text) => Meaning::Raw(moved(text)),
        }
    }

    /// As `entitlements.json` has it.
    pub fn json(&self) -> Value {
        match self {
            Meaning::Any(path) => json!({ "executable": path }),
            Meaning::Exact(path, arguments) if arguments.is_empty() => {
                json!({ "executable": path, "arguments": "none" })
            }
            Meaning::Exact(path, arguments) => json!({ "executable": path, "arguments": arguments }),
            Meaning::Directory(path) => json!({ "directory": path }),
            Meaning::Raw(text) => json!({ "raw": text }),
        }
    }

    /// A command line that it means.
    pub fn meant(&self) -> Vec<String> {
        match self {
            Meaning::Any(path) => vec![path.clone(), "any".to_owned(), "thing".to_owned()],
            Meaning::Exact(path, arguments) => [std::slice::from_ref(path), &arguments[..]].concat(),
            Meaning::Directory(path) => vec![format!("{path}tool"), "x".to_owned()],
            Meaning::Raw(text) => vec![text.clone()],
        }
    }

    /// Whether it means this command line, which `reading` may know only in part.
    pub fn means(&self, line: &[String], reading: Reading) -> bool {
        let [program, given @ ..] = line else { return false };
        let Some(program) = resolved(&from_root(program)) else { return false };
        match self {
            Meaning::Any(path) => resolved(path).is_some_and(|path| path == program),
            Meaning::Exact(path, wanted) => {
                let same = match reading {
                    Reading::List => given == wanted,
                    // An empty list is still told from a list of one empty argument.
                    Reading::JoinedOld if wanted.is_empty() => given.is_empty() || given == ["\"\""],
                    Reading::Joined | Reading::JoinedOld => {
                        given.is_empty() == wanted.is_empty() && given.join(" ") == wanted.join(" ")
                    }
                };
                same && resolved(path).is_some_and(|path| path == program)
            }
            Meaning::Directory(path) => {
                let parent = program.rsplit_once('/').map(|(parent, _)| parent.to_owned());
                path.ends_with('/') && resolved(path.trim_end_matches('/')) == parent
            }
            Meaning::Raw(_) => false,
        }
    }

    /// Command lines that differ from what it means in a way that some reader of sudoers might not see.
    pub fn neighbours(&self) -> Vec<Vec<String>> {
        let meant = self.meant();
        let (program, arguments) = (&meant[0], &meant[1..]);
        let mut lines: Vec<Vec<String>> =
            near(program).into_iter().map(|near| [&[near], arguments].concat()).collect();
        let mut with =
            |arguments: Vec<String>| lines.push([std::slice::from_ref(program), &arguments[..]].concat());
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        with(Vec::new());
        with(owned(&[""]));
        with(owned(&["ALL"]));
        with(owned(&["\"\""]));
        with(owned(&["a", "/etc/shadow"]));
        with([arguments, &owned(&["more"])].concat());
        with([arguments, &owned(&[""])].concat());
        with([&owned(&["first"]), arguments].concat());
        with(arguments.iter().rev().cloned().collect());
        with(vec![arguments.join(" ")]);
        with(vec![arguments.join("")]);
        with(arguments.join(" ").split_whitespace().map(str::to_owned).collect());
        with(
            arguments
                .iter()
                .flat_map(|argument| argument.split([' ', '\t', '\n', ',']))
                .map(str::to_owned)
                .collect(),
        );
        for (place, argument) in arguments.iter().enumerate() {
            with([&arguments[..place], &arguments[place + 1..]].concat());
            for near in near(argument) {
                with([&arguments[..place], &[near], &arguments[place + 1..]].concat());
            }
        }
        lines
    }
}

/// How an implementation of sudo compares arguments: what no rule can express goes to the program's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As [`Reading::Joined`]; and sudo 1.9.5 takes one argument of two quote characters for none, as sudoers writes that.
    JoinedOld,
    /// sudo joins them with single spaces first: `a b` as one argument is to it what `a` and `b` are as two.
    Joined,
    /// sudo-rs compares them one by one.
    List,
}

/// Texts that a reader with wildcards, escapes, quotes, comments, lists or regular expressions might take for `text`.
fn near(text: &str) -> Vec<String> {
    let cut_at = |mark: char| text.split(mark).next().unwrap_or_default().to_owned();
    let mut near = vec![
        format!("{text}x"),
        format!("x{text}"),
        format!("{text} x"),
        format!("{text}\n"),
        text.replace(['*', '?'], "x"),
        text.replace('*', "a /etc/shadow"),
        text.replace('*', "../x"),
        text.replace('*', ""),
        text.replace('\\', ""),
        text.replace('\\', "\\\\"),
        text.replace("\\\\", "\\"),
        text.replace(['"', '\''], ""),
        text.replace('^', ""),
        text.replace(['^', '$'], ""),
        text.replace(['[', ']'], ""),
        text.replace(['!', '~'], ""),
        text.replace("//", "/"),
        text.trim().to_owned(),
        text.to_uppercase(),
        text.chars().skip(1).collect(),
        text.chars().take(text.chars().count().saturating_sub(1)).collect(),
        cut_at('#'),
        cut_at(','),
        cut_at(':'),
        cut_at('='),
        cut_at('\\'),
        cut_at(' '),
        cut_at('\n'),
        cut_at('"'),
    ];
    if let Some((before, after)) = text.split_once('[')
        && let Some((class, after)) = after.split_once(']')
    {
        near.extend(class.chars().map(|c| format!("{before}{c}{after}")));
    }
    near.retain(|other| other != text);
    near.sort();
    near.dedup();
    near
}

/// A program's name as it is run from `/`; one without a slash is looked for elsewhere.
pub fn from_root(program: &str) -> String {
    let is_relative = !program.starts_with('/') && program.contains('/');
    if is_relative { format!("/{program}") } else { program.to_owned() }
}

/// The file that an absolute path names where there are no links; `None` for what names none.
pub fn resolved(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let names_a_file = !path.ends_with('/') && !path.ends_with("/.") && !path.ends_with("/..");
    names_a_file.then(|| format!("/{}", parts.join("/")))
}
