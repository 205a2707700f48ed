use super::*;

const PROJECT: &str = r#"{"schema":"hostward/project/1","id":"p1"}"#;
const USERS: &str =
    r#"{"schema":"hostward/users/1","users":[{"id":"u1","name":"alice","uid":70001,"gid":70001}]}"#;

fn documents() -> Vec<(&'static str, &'static str)> {
    vec![
        ("project.json", PROJECT),
        ("users-00.json", USERS),
        ("users-01.json", r#"{"schema":"hostward/users/1","users":[17]}"#),
        ("groups-00.json", r#"{"schema":"hostward/groups/1","groups":[]}"#),
        ("grants-00.json", r#"{"schema":"hostward/grants/1","grants":[]}"#),
        ("entitlements.json", r#"{"schema":"hostward/entitlements/1","entitlements":[]}"#),
        ("ssh.json", r#"{"schema":"hostward/ssh/1"}"#),
        ("something-else.json", "not even JSON"),
    ]
}

fn read(documents: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    let versions = Versions { version: 3, root_version: 1, expires: DateTime::UNIX_EPOCH };
    Policy::read(versions, documents.iter().map(|(name, text)| (*name, text.as_bytes())), "p1")
}

#[test]
fn shards_are_joined_and_other_targets_passed_over() {
    let policy = read(&documents()).unwrap();
    assert_eq!(policy.users.len(), 2);
    assert_eq!(policy.version, 3);
}

#[test]
fn every_document_is_required() {
    for name in ["project.json", "groups-00.json", "grants-00.json", "entitlements.json", "ssh.json"] {
        let mut documents = documents();
        documents.retain(|(n, _)| *n != name);
        let error = read(&documents).unwrap_err();
        assert!(matches!(error, PolicyError::Missing(n) if n == name), "{name}: {error}");
    }
    let mut documents = documents();
    documents.retain(|(n, _)| !n.starts_with("users"));
    assert!(matches!(read(&documents).unwrap_err(), PolicyError::Missing("users-00.json")));
}

#[test]
fn an_unknown_major_refuses_the_whole() {
    let mut documents = documents();
    documents[2].1 = r#"{"schema":"hostward/users/2","users":[]}"#;
    let error = read(&documents).unwrap_err();
    assert!(
        matches!(
            &error,
            PolicyError::Document { target, source: DocumentError::UnknownMajor { .. } } if target == "users-01.json"
        ),
        "{error}"
    );
}

#[test]
fn an_empty_file_refuses_the_whole() {
    let mut documents = documents();
    documents[1].1 = "";
    let error = read(&documents).unwrap_err();
    assert!(matches!(error, PolicyError::Document { source: DocumentError::Empty, .. }), "{error}");
}

#[test]
fn another_project_is_refused() {
    let mut documents = documents();
    documents[0].1 = r#"{"schema":"hostward/project/1","id":"p2"}"#;
    assert!(matches!(read(&documents).unwrap_err(), PolicyError::OtherProject { .. }));
}

#[test]
fn no_users_must_be_meant() {
    let mut documents = documents();
    documents.remove(1);
    assert!(matches!(read(&documents).unwrap_err(), PolicyError::NoUsers));
    documents[0].1 = r#"{"schema":"hostward/project/1","id":"p1","settings":{"empty":true}}"#;
    assert_eq!(read(&documents).unwrap().users.len(), 1);
}
