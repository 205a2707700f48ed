//! What is written for sudo is read by the real parser, whatever an entitlement says.

use std::io::Write;
use std::process::Command;

use hostward_plan::facts::SudoDialect;
use hostward_plan::sudoers::{Dialects, express};
use hostward_protocol::document::{Arguments, Entitlement, RunAs};
use proptest::prelude::*;

/// Characters that mean something to sudoers, and some that do not.
const NASTY: &str = r##"[a-cALN/ ,:=#*?\[\]\\"!'()@%+~^<>;&|$`{}é\n\t0-9_.-]{0,12}"##;

const ALL_DIALECTS: &[SudoDialect] = &[SudoDialect::Sudo, SudoDialect::SudoRs];

/// Fails the test, never skips it, where there is no visudo.
fn check(text: &str) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    file.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
    let output = Command::new("/usr/sbin/visudo")
        .arg("-cf")
        .arg(file.path())
        .output()
        .map_err(|e| format!("cannot run /usr/sbin/visudo, install sudo: {e}"))?;
    match output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("Warning") {
        true => Ok(()),
        false => Err(format!("{text}\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn command() -> impl Strategy<Value = hostward_protocol::document::Command> {
    use hostward_protocol::document::Command::{Directory, Executable, Raw};
    let path = prop_oneof![3 => NASTY.prop_map(|s| format!("/{s}")), 1 => NASTY.prop_map(|s| s)];
    let arguments = prop_oneof![
        Just(Arguments::Any),
        Just(Arguments::None),
        proptest::collection::vec(NASTY, 0..4).prop_map(Arguments::Exact),
        proptest::collection::vec("[a-z,:=#!'()@%+~{}<>;&|$`é^-]{1,5}", 1..4).prop_map(Arguments::Exact),
    ];
    prop_oneof![
        (path.clone(), arguments.clone())
            .prop_map(|(executable, arguments)| Executable { executable, arguments }),
        ("/[a-z,:=@%~+./-]{1,9}", arguments)
            .prop_map(|(executable, arguments)| Executable { executable, arguments }),
        path.clone().prop_map(|path| Directory { directory: format!("{path}/") }),
        (path, NASTY).prop_map(|(path, rest)| Raw { raw: format!("{path} {rest}") }),
        r##"/[a-c/*?\[\]!^.,:=\\#]{1,8}( [a-c*?\[\]!^\\,:=#"()'-]{1,4}){0,2}"##.prop_map(|raw| Raw { raw }),
    ]
}

fn entitlement() -> impl Strategy<Value = Entitlement> {
    let who =
        || proptest::option::of(prop_oneof![NASTY.prop_map(|s| s), "#[0-9]{1,11}", "[a-z_][a-z0-9_-]{0,5}"]);
    let variables = || proptest::collection::vec(prop_oneof![NASTY.prop_map(|s| s), "[A-Z]{1,6}"], 0..3);
    (
        proptest::collection::vec(command().prop_map(Into::into), 0..6),
        (who(), who()),
        (any::<bool>(), any::<bool>(), any::<bool>()),
        (variables(), variables()),
    )
        .prop_map(|(commands, (user, group), (no_passwd, no_exec, set_env), (env_keep, env_delete))| {
            Entitlement {
                name: "e".into(),
                run_as: RunAs { user, group },
                commands,
                no_passwd,
                no_exec,
                set_env,
                env_keep,
                env_delete,
            }
        })
}

proptest! {
    #[test]
    fn whatever_is_expressed_can_be_read(entitlements in proptest::collection::vec(entitlement(), 1..8), sudo_rs: bool) {
        let installed = if sudo_rs { ALL_DIALECTS } else { &ALL_DIALECTS[..1] };
        let mut lines = std::collections::BTreeSet::new();
        let mut text = String::new();
        for entitlement in &entitlements {
            let expressed = express(entitlement, Dialects { installed, allow_raw: true });
            for line in expressed.file_for("%#70001").lines() {
                prop_assert!(!line.contains(|c: char| c.is_control()));
                if lines.insert(line.to_owned()) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        if let Err(error) = check(&text) {
            return Err(TestCaseError::fail(error));
        }
    }
}

#[test]
fn the_project_in_full_can_be_read() {
    let mut world = crate::world::World::new();
    world.entitlements[0]["env_keep"] = serde_json::json!(["LANG"]);
    world.entitlements[0]["env_delete"] = serde_json::json!(["DEBUG"]);
    world.grants[0]["id"] = serde_json::json!("evil\\\nALL ALL=(ALL) ALL\\");
    let text = world.desired().sudoers.unwrap();
    check(&text).unwrap();
    assert!(!text.contains("\nALL"));
}

#[test]
fn many_commands_with_an_environment_can_be_read() {
    let commands: Vec<_> =
        (0..1000).map(|n| serde_json::json!({"executable": format!("/opt/{n}")})).collect();
    let json = serde_json::json!({"name": "e", "commands": commands, "env_keep": ["LANG"]});
    let entitlement: Entitlement = serde_json::from_str(&json.to_string()).unwrap();
    let expressed = express(&entitlement, Dialects { installed: ALL_DIALECTS, allow_raw: false });
    assert_eq!(expressed.rules.len(), 1000);
    check(&expressed.file_for("%#70001")).unwrap();
}
