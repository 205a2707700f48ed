use super::*;

#[test]
fn target_names() {
    assert_eq!(Kind::of_target("users-00.json"), Some((Kind::Users, Some(0))));
    assert_eq!(Kind::of_target("grants-1023.json"), Some((Kind::Grants, Some(1023))));
    assert_eq!(Kind::of_target("project.json"), Some((Kind::Project, None)));
    for other in [
        "users.json",
        "users-0.json",
        "users-1024.json",
        "users-007.json",
        "project-00.json",
        "users-+1.json",
        "users-00.json.bak",
        "../users-00.json",
        "",
        ".json",
        "users-.json",
    ] {
        assert_eq!(Kind::of_target(other), None, "{other}");
    }
    assert_eq!(Kind::Users.target(Some(7)), "users-07.json");
}

#[test]
fn unknown_members_are_ignored_and_unknown_majors_refused() {
    let users: Users = parse(br#"{"schema":"hostward/users/1","new":{},"users":[]}"#).unwrap();
    assert!(users.users.is_empty());
    let error = parse::<Users>(br#"{"schema":"hostward/users/2","users":[]}"#).unwrap_err();
    assert!(matches!(error, DocumentError::UnknownMajor { found: 2, known: 1, .. }), "{error}");
    let error = parse::<Users>(br#"{"schema":"hostward/groups/1","users":[]}"#).unwrap_err();
    assert!(matches!(error, DocumentError::OtherKind { .. }), "{error}");
}

#[test]
fn an_empty_file_is_no_document() {
    assert!(matches!(parse::<Users>(b" \n").unwrap_err(), DocumentError::Empty));
    assert!(matches!(parse::<Users>(b"{}").unwrap_err(), DocumentError::Malformed { .. }));
    assert!(matches!(
        parse::<Users>(br#"{"schema":"hostward/users/1"}"#).unwrap_err(),
        DocumentError::Malformed { .. }
    ));
}

#[test]
fn one_bad_entry_does_not_cost_the_others() {
    let text = br#"{"schema":"hostward/users/1","users":[
        {"id":"u1","name":"alice","uid":70001,"gid":70001},
        {"id":"u2","name":"bob","uid":-1,"gid":1},
        17,
        {"id":"u3","name":"carol","uid":70003,"gid":70003,"status":"suspended"}]}"#;
    let users: Users = parse(text).unwrap();
    assert_eq!(users.users.len(), 4);
    assert_eq!(users.users[0].shaped().unwrap().name, "alice");
    assert!(matches!(&users.users[1], Entry::Malformed { label, .. } if label == "u2"));
    assert!(matches!(&users.users[2], Entry::Malformed { label, .. } if label.is_empty()));
    assert_eq!(users.users[3].shaped().unwrap().status, UserStatus::Suspended);
}

#[test]
fn arguments_have_three_forms() {
    let command = |text: &str| serde_json::from_str::<Command>(text);
    let arguments = |text: &str| match command(text) {
        Ok(Command::Executable { arguments, .. }) => arguments,
        other => panic!("{other:?}"),
    };
    assert_eq!(arguments(r#"{"executable":"/bin/a"}"#), Arguments::Any);
    assert_eq!(arguments(r#"{"executable":"/bin/a","arguments":"none"}"#), Arguments::None);
    assert_eq!(arguments(r#"{"executable":"/bin/a","arguments":[]}"#), Arguments::None);
    assert_eq!(arguments(r#"{"executable":"/bin/a","arguments":["x"]}"#), Arguments::Exact(vec!["x".into()]));
    assert!(command(r#"{"executable":"/bin/a","arguments":"all"}"#).is_err());
    assert!(command(r#"{"arguments":"any"}"#).is_err());
    assert!(command(r#"{"executable":"/bin/a","argument":["x"]}"#).is_err());
    assert!(command(r#"{"executable":"/bin/a","raw":"/bin/b"}"#).is_err());
    assert!(command(r#"{"directory":"/opt/tools/","arguments":["x"]}"#).is_err());
}
