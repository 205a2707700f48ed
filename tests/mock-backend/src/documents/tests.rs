use super::*;

fn policy(users: usize) -> Policy {
    let mut text = String::from("[project]\nid = \"acme\"\n");
    for n in 0..users {
        text += &format!("[users.u{n}]\nuid = {}\n", 100_000 + n);
    }
    Policy::parse(&text).unwrap()
}

#[test]
fn shards_are_near_the_square_root_of_twice_the_entries() {
    for (entries, expected) in
        [(0, 1), (1, 1), (3, 2), (10, 4), (1000, 32), (10_000, 128), (100_000, 512), (10_000_000, 1024)]
    {
        assert_eq!(shard_count(entries, 0), expected, "{entries}");
    }
}

#[test]
fn a_count_stays_until_it_is_far_off() {
    assert_eq!(shard_count(10_000, 64), 128);
    assert_eq!(shard_count(8_000, 128), 128);
    assert_eq!(shard_count(2_100, 128), 128);
    assert_eq!(shard_count(1_900, 128), 64);
}

#[test]
fn counts_are_read_back_from_target_names() {
    let policy = policy(100);
    let shards = Shards::choose(&policy, Shards::default());
    let documents = assemble(&policy, &SshLists::default(), shards, &Flaws::default());
    assert_eq!(Shards::of(documents.keys()), shards);
}

#[test]
fn every_entry_is_in_one_shard() {
    let policy = policy(500);
    let shards = Shards::choose(&policy, Shards::default());
    let documents = assemble(&policy, &SshLists::default(), shards, &Flaws::default());
    let mut names = Vec::new();
    for (name, bytes) in &documents {
        if name.starts_with("users-") {
            let users: document::Users = document::parse(bytes).unwrap();
            names.extend(users.users.iter().map(|user| user.shaped().unwrap().name.clone()));
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 500);
}
