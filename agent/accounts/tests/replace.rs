//! Replacing and removing the file, with kills in between, as those who map it see it. Needs root, as the
//! database does.
#![allow(missing_docs)]

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hostward_accounts::map::{Head, MapError, Mapping};
use hostward_accounts::{Lookup, ReplaceError, User, build, finish_interrupted, remove, replace};

struct Place {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let owner = fs::metadata(directory.path()).expect("metadata").uid();
        assert_eq!(owner, 0, "these tests give files to root: run them as root");
        Self { path: directory.path().join("hostward.db"), directory }
    }

    fn old(&self) -> PathBuf {
        self.directory.path().join(".hostward.db.old")
    }

    fn new_name(&self) -> PathBuf {
        self.directory.path().join(".hostward.db.new")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("a directory");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
        entries.map(|entry| name(entry).expect("UTF-8")).collect()
    }

    fn map(&self) -> Result<Mapping, MapError> {
        map(&self.path)
    }

    fn generation(&self) -> u64 {
        self.map().expect("maps").database().expect("is a database").generation()
    }
}

fn map(path: &Path) -> Result<Mapping, MapError> {
    Mapping::open(&CString::new(path.as_os_str().as_bytes()).expect("no NUL"))
}

fn database(generation: u64) -> Vec<u8> {
    let user = User { name: "alice".into(), uid: 60001, gid: 60001, ..User::default() };
    build(&[user], &[], generation).expect("builds")
}

#[test]
fn a_first_file_is_roots_and_readable_by_all() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    let metadata = fs::metadata(&place.path).expect("metadata");
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (0, 0, 0o644));
    assert_eq!(place.names(), ["hostward.db"]);
    assert_eq!(place.generation(), 1);
}

#[test]
fn who_maps_the_old_file_learns_of_the_new_one_and_can_still_read() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    let old = place.map().expect("maps");
    assert!(!old.superseded());
    replace(&place.path, &database(2)).expect("replaces");
    assert!(old.superseded());
    assert_eq!(old.database().expect("is a database").generation(), 1);
    assert!(!place.map().expect("maps").superseded());
    assert_eq!(place.generation(), 2);
    assert_eq!(place.names(), ["hostward.db"]);
}

#[test]
fn the_head_that_was_read_says_what_the_mapping_says() {
    let place = Place::new();
    let open = |path: &Path| {
        let (path, mut head) = (CString::new(path.as_os_str().as_bytes()).expect("no NUL"), Head::new());
        (Mapping::open_with_head(&path, &mut head).expect("opens"), head)
    };
    replace(&place.path, &database(1)).expect("replaces");
    let kept = place.directory.path().join("kept");
    fs::hard_link(&place.path, &kept).expect("a second name");
    let (mapping, head) = open(&place.path);
    assert!(!head.superseded() && !mapping.superseded());
    replace(&place.path, &database(2)).expect("replaces");
    assert!(!head.superseded() && mapping.superseded(), "what was read stays as it was");
    let (old, old_head) = open(&kept);
    assert!(old_head.superseded() && old.superseded());
    let (new, new_head) = open(&place.path);
    assert!(!new_head.superseded());
    for (mapping, head, generation) in [(&mapping, &head, 1), (&old, &old_head, 1), (&new, &new_head, 2)] {
        let database = mapping.database_with(head).expect("is a database");
        assert_eq!(database.generation(), generation);
        let Lookup::Found(alice) = database.user_by_name(b"alice") else { panic!("no alice") };
        assert_eq!(alice.uid(), 60001);
    }
}

#[test]
fn who_maps_a_removed_file_learns_of_it() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    let old = place.map().expect("maps");
    remove(&place.path).expect("removes");
    assert!(old.superseded());
    assert!(place.names().is_empty());
    remove(&place.path).expect("removing nothing is no error");
}

#[test]
fn bytes_that_are_no_database_are_not_put_in_place() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    let error = replace(&place.path, b"nonsense").expect_err("is refused");
    assert!(matches!(error, ReplaceError::Bytes { .. }), "{error}");
    assert_eq!((place.generation(), place.names().len()), (1, 1));
}

#[test]
fn a_kill_while_writing_leaves_the_old_file_and_is_mended() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    fs::write(place.new_name(), b"half a file").expect("writes");
    let mapped = place.map().expect("maps");
    finish_interrupted(&place.path).expect("mends");
    assert!(!mapped.superseded());
    assert_eq!((place.generation(), place.names()), (1, vec!["hostward.db".to_owned()]));
}

#[test]
fn a_kill_before_the_rename_leaves_the_old_file_in_force() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    fs::write(place.new_name(), database(2)).expect("writes");
    fs::hard_link(&place.path, place.old()).expect("links");
    let mapped = place.map().expect("maps");
    finish_interrupted(&place.path).expect("mends");
    assert!(!mapped.superseded(), "the file in force must not be called superseded");
    assert_eq!((place.generation(), place.names()), (1, vec!["hostward.db".to_owned()]));
}

#[test]
fn a_kill_after_the_rename_is_mended() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    let mapped = place.map().expect("maps");
    fs::hard_link(&place.path, place.old()).expect("links");
    fs::write(place.new_name(), database(2)).expect("writes");
    fs::rename(place.new_name(), &place.path).expect("renames");
    assert!(!mapped.superseded());
    finish_interrupted(&place.path).expect("mends");
    assert!(mapped.superseded());
    assert_eq!((place.generation(), place.names()), (2, vec!["hostward.db".to_owned()]));
}

#[test]
fn a_kill_in_a_removal_is_mended() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    let mapped = place.map().expect("maps");
    fs::rename(&place.path, place.old()).expect("renames");
    finish_interrupted(&place.path).expect("mends");
    assert!(mapped.superseded());
    assert!(place.names().is_empty());
}

#[test]
fn the_next_replacement_mends_too() {
    let place = Place::new();
    replace(&place.path, &database(1)).expect("replaces");
    let mapped = place.map().expect("maps");
    fs::rename(&place.path, place.old()).expect("renames");
    fs::write(place.new_name(), b"half a file").expect("writes");
    replace(&place.path, &database(3)).expect("replaces");
    assert!(mapped.superseded());
    assert_eq!((place.generation(), place.names().len()), (3, 1));
}

#[test]
fn a_link_in_the_files_place_is_replaced_and_not_followed() {
    let place = Place::new();
    let elsewhere = Place::new();
    fs::write(&elsewhere.path, vec![b'x'; 100]).expect("writes");
    symlink(&elsewhere.path, &place.path).expect("links");
    replace(&place.path, &database(1)).expect("replaces");
    assert_eq!(fs::read(&elsewhere.path).expect("reads"), vec![b'x'; 100]);
    assert_eq!((place.generation(), place.names().len()), (1, 1));
}

#[test]
fn a_file_that_is_too_short_to_have_the_flag_is_not_lengthened() {
    let place = Place::new();
    fs::write(&place.path, b"").expect("writes");
    let old = fs::File::open(&place.path).expect("opens");
    replace(&place.path, &database(1)).expect("replaces");
    assert_eq!(old.metadata().expect("metadata").len(), 0);
}

#[test]
fn a_directory_in_the_files_place_is_an_error_that_names_the_step() {
    let place = Place::new();
    fs::create_dir(&place.path).expect("creates");
    let error = replace(&place.path, &database(1)).expect_err("fails");
    assert!(error.to_string().starts_with("cannot rename to its place `"), "{error}");
}

#[test]
fn files_that_others_could_have_made_are_not_mapped() {
    let place = Place::new();
    assert_eq!(place.map().err(), Some(MapError::Os(2)), "no file");
    replace(&place.path, &database(1)).expect("replaces");
    for mode in [0o664, 0o646, 0o666] {
        fs::set_permissions(&place.path, fs::Permissions::from_mode(mode)).expect("sets the mode");
        assert_eq!(place.map().err(), Some(MapError::NotTrusted), "{mode:o}");
    }
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o644)).expect("sets the mode");
    assert!(place.map().is_ok());
    std::os::unix::fs::chown(&place.path, Some(1), None).expect("gives away");
    assert_eq!(place.map().err(), Some(MapError::NotTrusted), "another owner");

    let link = place.directory.path().join("link");
    symlink(&place.path, &link).expect("links");
    assert_eq!(map(&link).err(), Some(MapError::Os(40)), "a link: ELOOP");
    assert_eq!(map(place.directory.path()).err(), Some(MapError::NotTrusted), "a directory");
    assert_eq!(map(Path::new("/dev/null")).err(), Some(MapError::NotTrusted), "a device");

    fs::write(place.new_name(), [0; 255]).expect("writes");
    assert_eq!(map(&place.new_name()).err(), Some(MapError::Size), "shorter than a header");
    let sparse = fs::OpenOptions::new().write(true).open(place.new_name()).expect("opens");
    sparse.set_len(1 << 40).expect("a sparse terabyte");
    assert_eq!(map(&place.new_name()).err(), Some(MapError::Size), "a terabyte");
}
