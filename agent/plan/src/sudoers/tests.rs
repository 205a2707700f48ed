use super::*;

const BOTH: Dialects<'_> = Dialects { installed: &[SudoDialect::Sudo, SudoDialect::SudoRs], allow_raw: true };
const SUDO: Dialects<'_> = Dialects { installed: &[SudoDialect::Sudo], allow_raw: true };

fn entitlement(json: &str) -> Entitlement {
    serde_json::from_str(json).unwrap()
}

/// The rules, or the codes of what is refused.
fn outcome(json: &str, dialects: Dialects<'_>) -> String {
    let expressed = express(&entitlement(json), dialects);
    let codes = expressed.refusals.iter().map(|finding| finding.code.clone());
    expressed.rules.iter().cloned().chain(codes).collect::<Vec<_>>().join(" | ")
}

fn of_command(json: &str) -> String {
    let text = outcome(&format!(r#"{{"name":"e","commands":[{json}]}}"#), BOTH);
    text.strip_prefix("(root) NOPASSWD: ").map(str::to_owned).unwrap_or(text)
}

#[test]
fn commands() {
    let long = format!(r#"{{"executable":"/bin/a","arguments":["{}"]}}"#, "x".repeat(100_000));
    let long_path = format!(r#"{{"executable":"/{}"}}"#, "x".repeat(1001));
    let at_limit = format!(r#"{{"executable":"/bin/a","arguments":["{}"]}}"#, "x".repeat(999));
    let at_limit_text = format!("/bin/a {}", "x".repeat(999));
    for (json, expected) in [
        (r#"{"executable":"/bin/a"}"#, "/bin/a"),
        (r#"{"executable":"/bin/a","arguments":"none"}"#, r#"/bin/a """#),
        (r#"{"executable":"/bin/a","arguments":[]}"#, r#"/bin/a """#),
        (r#"{"executable":"/bin/a","arguments":["b","-c"]}"#, "/bin/a b -c"),
        (
            r#"{"executable":"/bin/a","arguments":["x,y:z=1","\#t"]}"#.replace(r"\#", "#").as_str(),
            r"/bin/a x\,y\:z\=1 \#t",
        ),
        (r#"{"executable":"/bin/a","arguments":["!'()@%+~{}<>;&|$`é"]}"#, "/bin/a !'()@%+~{}<>;&|$`é"),
        (r#"{"executable":"/opt/a,b:c=d/e"}"#, r"/opt/a\,b\:c\=d/e"),
        (r#"{"executable":"/usr/bin/[","arguments":"any"}"#, "command-path-invalid"),
        (r#"{"executable":"ALL"}"#, "command-path-invalid"),
        (r#"{"executable":"ls"}"#, "command-path-invalid"),
        (r#"{"executable":"./ls"}"#, "command-path-invalid"),
        (r#"{"executable":""}"#, "command-path-invalid"),
        (r#"{"executable":"/"}"#, "command-path-invalid"),
        (r#"{"executable":"!/bin/sh"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/a b"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/a\nALL ALL=(ALL) ALL"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/*"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/a\\"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/\"a\""}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/../sbin/a"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin//a"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/"}"#, "command-path-invalid"),
        (r#"{"executable":"/usr/bin/sudoedit"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/a#b"}"#, "command-path-invalid"),
        (r#"{"directory":"/opt/tools/"}"#, "/opt/tools/"),
        (r#"{"directory":"/opt/tools"}"#, "command-path-invalid"),
        (r#"{"directory":"/"}"#, "command-path-invalid"),
        (r#"{"directory":"tools/"}"#, "command-path-invalid"),
        (r#"{"directory":"/opt/../"}"#, "command-path-invalid"),
        (r#"{"directory":"/opt//"}"#, "command-path-invalid"),
        (r#"{"executable":"/bin/a","arguments":["a b"]}"#, "command-argument-blank"),
        (r#"{"executable":"/bin/a","arguments":["a\tb"]}"#, "command-argument-control"),
        (r#"{"executable":"/bin/a","arguments":["a\u00a0b"]}"#, "command-argument-blank"),
        (r#"{"executable":"/bin/a","arguments":[""]}"#, "command-argument-empty"),
        (r#"{"executable":"/bin/a","arguments":["a\nb"]}"#, "command-argument-control"),
        (r#"{"executable":"/bin/a","arguments":["a\\b"]}"#, "command-argument-backslash"),
        (r#"{"executable":"/bin/a","arguments":["*"]}"#, "command-argument-pattern"),
        (r#"{"executable":"/bin/a","arguments":["a?"]}"#, "command-argument-pattern"),
        (r#"{"executable":"/bin/a","arguments":["[a]"]}"#, "command-argument-pattern"),
        (r#"{"executable":"/bin/a","arguments":["^a$"]}"#, "command-argument-pattern"),
        (r#"{"executable":"/bin/a","arguments":["\"\""]}"#, "command-argument-quote"),
        (&long, "command-too-long"),
        (&long_path, "command-too-long"),
        (&at_limit, &at_limit_text),
        (r#"{"executable":"/bin/a","arguments":17}"#, "command-malformed"),
        ("17", "command-malformed"),
        (r#"{"raw":"ALL"}"#, "ALL"),
        (r#"{"raw":"/bin/cat /var/log/*"}"#, "/bin/cat /var/log/*"),
        (r#"{"raw":"/bin/c[ab]t a\\,b"}"#, r"/bin/c[ab]t a\,b"),
        (r#"{"raw":"/bin/cat \"\""}"#, r#"/bin/cat """#),
        (r#"{"raw":"/bin/cat \\*"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/\\*"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/cat, ALL"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/cat : ALL=ALL"}"#, "command-raw-invalid"),
        (r#"{"raw":"(ALL) ALL"}"#, "command-raw-invalid"),
        (r#"{"raw":"NOPASSWD: ALL"}"#, "command-raw-invalid"),
        (r#"{"raw":"!/bin/sh"}"#, "command-raw-invalid"),
        (r#"{"raw":"ADMIN_COMMANDS"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/cat #x"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/cat\nDefaults !authenticate"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/cat \\"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/cat \"x"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/c[at"}"#, "command-raw-invalid"),
        (r#"{"raw":"/bin/cat ^x$"}"#, "command-raw-invalid"),
        (r#"{"raw":"sudoedit /etc/motd"}"#, "command-raw-invalid"),
        (r#"{"raw":"sha256:00 /bin/cat"}"#, "command-raw-invalid"),
        (r#"{"raw":""}"#, "command-raw-invalid"),
        (r#"{"raw":"@include /tmp/x"}"#, "command-raw-invalid"),
    ] {
        assert_eq!(of_command(json), expected, "{}", shown(json));
    }
}

#[test]
fn a_raw_command_needs_the_operator() {
    let dialects = Dialects { allow_raw: false, ..SUDO };
    let json = r#"{"name":"e","commands":[{"raw":"/bin/cat *"},{"executable":"/bin/id"}]}"#;
    assert_eq!(outcome(json, dialects), "(root) NOPASSWD: /bin/id | command-raw-not-allowed");
    let json = r#"{"name":"e","commands":[{"raw":"/bin/cat \\*"}]}"#;
    assert_eq!(outcome(json, SUDO), r"(root) NOPASSWD: /bin/cat \*");
    let json = r#"{"name":"e","commands":[{"raw":"/bin/\\*"}]}"#;
    assert_eq!(outcome(json, SUDO), "command-raw-invalid");
}

#[test]
fn run_as_and_tags() {
    for (members, expected) in [
        (r#""no_passwd":false"#, "(root) /a"),
        (r#""set_env":true"#, "(root) NOPASSWD: SETENV: /a"),
        (r#""run_as":{"user":"www-data"}"#, "(www-data) NOPASSWD: /a"),
        (r##""run_as":{"user":"#0070"}"##, "(#70) NOPASSWD: /a"),
        (r#""run_as":{"group":"adm"}"#, "(:adm) NOPASSWD: /a"),
        (r##""run_as":{"user":"a","group":"#7"}"##, "(a:#7) NOPASSWD: /a | (:#7) NOPASSWD: /a"),
        (r#""run_as":{"user":"ALL"}"#, "entitlement-run-as-invalid"),
        (r#""run_as":{"user":"root) ALL"}"#, "entitlement-run-as-invalid"),
        (r#""run_as":{"user":""}"#, "entitlement-run-as-invalid"),
        (r##""run_as":{"user":"#-1"}"##, "entitlement-run-as-invalid"),
        (r##""run_as":{"user":"#4294967295"}"##, "entitlement-run-as-invalid"),
        (r##""run_as":{"user":"#"}"##, "entitlement-run-as-invalid"),
        (r##""run_as":{"user":"#+1"}"##, "entitlement-run-as-invalid"),
        (r#""run_as":{"user":"%wheel"}"#, "entitlement-run-as-invalid"),
        (r#""run_as":{"user":"!root"}"#, "entitlement-run-as-invalid"),
        (r#""run_as":{"group":"a,b"}"#, "entitlement-run-as-invalid"),
    ] {
        let json = format!(r#"{{"name":"e","commands":[{{"executable":"/a"}}],{members}}}"#);
        assert_eq!(outcome(&json, BOTH), expected, "{members}");
    }
    let json = r#"{"name":"e","commands":[{"executable":"/a"}],"no_exec":true}"#;
    assert_eq!(outcome(json, SUDO), "(root) NOPASSWD: NOEXEC: /a");
    assert_eq!(outcome(json, BOTH), "entitlement-no-exec-unsupported");
}

#[test]
fn environment() {
    let json = r#"{"name":"e","commands":[{"executable":"/a","arguments":["b"]},{"directory":"/c/"}],
        "env_keep":["LANG","LD_PRELOAD","HTTP_PROXY","PATH","BASH_FUNC_x%%","A B"],"env_delete":["DEBUG"]}"#;
    let expressed = express(&entitlement(json), BOTH);
    let alias = expressed.environment[0].split(' ').nth(1).unwrap();
    assert!(alias.starts_with("HOSTWARD_") && alias.len() == 29, "{alias}");
    assert_eq!(
        expressed.environment,
        [
            format!("Cmnd_Alias {alias} = /a b, /c/"),
            format!("Defaults!{alias} env_keep += \"HTTP_PROXY LANG\""),
            format!("Defaults!{alias} env_keep -= \"DEBUG\", env_check -= \"DEBUG\""),
        ]
    );
    let codes: Vec<&str> = expressed.refusals.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "entitlement-variable-harmful",
            "entitlement-variable-harmful",
            "entitlement-variable-invalid",
            "entitlement-variable-invalid"
        ]
    );
    assert_eq!(expressed.warnings[0].code, "entitlement-environment-shared");
    let json = r#"{"name":"e","commands":[{"executable":"/a"}],"env_delete":["X=1"]}"#;
    assert_eq!(outcome(json, BOTH), "entitlement-variable-invalid");
}

#[test]
fn a_command_given_twice_is_one_rule() {
    let json = r#"{"name":"e","commands":[{"executable":"/a"},{"executable":"/a"},{"raw":"/a"}]}"#;
    assert_eq!(outcome(json, BOTH), "(root) NOPASSWD: /a");
}
