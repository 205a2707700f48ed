//! The finished library, as glibc and the programs of a host meet it.
//!
//! Each scenario runs in a process and a mount namespace of its own, with an empty `/var/lib/misc`, so it needs root.
#![allow(missing_docs)]

#[path = "glibc/agreement.rs"]
mod agreement;
#[path = "glibc/callers.rs"]
mod callers;
#[path = "glibc/calls.rs"]
mod calls;
#[path = "glibc/halted.rs"]
mod halted;
#[path = "glibc/host.rs"]
mod host;
#[path = "glibc/hostile.rs"]
mod hostile;
#[path = "glibc/kernel.rs"]
mod kernel;
#[path = "glibc/killed.rs"]
mod killed;
#[path = "glibc/lookups.rs"]
mod lookups;
#[path = "glibc/parked.rs"]
mod parked;
#[path = "glibc/process.rs"]
mod process;
#[path = "glibc/replacing.rs"]
mod replacing;
#[path = "glibc/through.rs"]
mod through;
#[path = "glibc/trace.rs"]
mod trace;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

use host::Host;

type Scenario = (&'static str, fn(&Host));

const SCENARIOS: &[Scenario] = &[
    ("passwd_by_name_and_uid", lookups::passwd_by_name_and_uid),
    ("group_by_name_and_gid", lookups::group_by_name_and_gid),
    ("a_group_of_very_many", lookups::a_group_of_very_many),
    ("shadow_has_a_star_and_no_ageing", lookups::shadow_has_a_star_and_no_ageing),
    ("who_is_not_there_is_not_found", lookups::who_is_not_there_is_not_found),
    ("a_small_buffer_is_the_only_reason_for_erange", lookups::a_small_buffer_is_the_only_reason_for_erange),
    ("members_are_aligned_in_any_buffer", lookups::members_are_aligned_in_any_buffer),
    ("initgroups_through_glibc", lookups::initgroups_through_glibc),
    ("initgroups_keeps_to_the_limit", lookups::initgroups_keeps_to_the_limit),
    ("enumerations_give_everybody_once", lookups::enumerations_give_everybody_once),
    ("enumerations_are_not_disturbed_by_lookups", lookups::enumerations_are_not_disturbed_by_lookups),
    ("an_enumeration_survives_a_replacement", replacing::an_enumeration_survives_a_replacement),
    (
        "a_replacement_is_seen_and_the_old_file_let_go",
        replacing::a_replacement_is_seen_and_the_old_file_let_go,
    ),
    ("a_removal_is_seen_and_so_is_a_new_file", replacing::a_removal_is_seen_and_so_is_a_new_file),
    ("threads_read_while_the_file_is_replaced", replacing::threads_read_while_the_file_is_replaced),
    ("threads_read_while_the_file_comes_and_goes", replacing::threads_read_while_the_file_comes_and_goes),
    ("eight_threads_and_a_replacement_every_10_ms", replacing::eight_threads_and_a_replacement_every_10_ms),
    ("a_thread_that_stands_still_holds_up_nobody", halted::a_thread_that_stands_still_holds_up_nobody),
    (
        "a_first_lookup_that_stands_still_holds_up_nobody",
        halted::a_first_lookup_that_stands_still_holds_up_nobody,
    ),
    (
        "a_thread_that_stands_still_in_a_system_call_holds_up_nobody",
        parked::a_thread_that_stands_still_in_a_system_call_holds_up_nobody,
    ),
    ("forks_during_lookups_and_replacements", replacing::forks_during_lookups_and_replacements),
    (
        "a_child_keeps_no_mapping_for_threads_it_does_not_have",
        replacing::a_child_keeps_no_mapping_for_threads_it_does_not_have,
    ),
    (
        "a_child_forked_before_any_replacement_keeps_one_mapping_at_most",
        halted::a_child_forked_before_any_replacement_keeps_one_mapping_at_most,
    ),
    ("a_fork_in_a_signal_handler_during_a_lookup", replacing::a_fork_in_a_signal_handler_during_a_lookup),
    ("a_writer_killed_between_any_two_system_calls", killed::a_writer_killed_between_any_two_system_calls),
    ("two_kills_in_a_row", killed::two_kills_in_a_row),
    ("a_second_lookup_makes_no_system_call", process::a_second_lookup_makes_no_system_call),
    ("a_warm_lookup_makes_no_system_call", process::a_warm_lookup_makes_no_system_call),
    ("a_caller_may_close_all_descriptors", process::a_caller_may_close_all_descriptors),
    ("a_process_without_descriptors_to_spare", process::a_process_without_descriptors_to_spare),
    ("a_lookup_at_exit", process::a_lookup_at_exit),
    ("a_lookup_after_everything_at_exit", process::a_lookup_after_everything_at_exit),
    ("little_address_space", process::little_address_space),
    ("a_replacement_in_little_address_space", process::a_replacement_in_little_address_space),
    ("errno_is_left_alone", process::errno_is_left_alone),
    (
        "a_caller_that_gives_every_descriptor_to_something_else",
        callers::a_caller_that_gives_every_descriptor_to_something_else,
    ),
    ("a_lookup_in_a_threads_destructor", callers::a_lookup_in_a_threads_destructor),
    ("two_threads_share_an_enumeration", callers::two_threads_share_an_enumeration),
    ("names_of_every_byte", callers::names_of_every_byte),
    ("a_root_without_the_file", callers::a_root_without_the_file),
    ("a_sandbox_that_opens_nothing", callers::a_sandbox_that_opens_nothing),
    ("the_module_answers_as_files_does", agreement::the_module_answers_as_files_does),
    ("a_stack_with_little_left", callers::a_stack_with_little_left),
    ("files_that_others_could_have_made", hostile::files_that_others_could_have_made),
    ("things_that_are_no_file", hostile::things_that_are_no_file),
    ("a_file_cut_anywhere_is_unavailable", hostile::a_file_cut_anywhere_is_unavailable),
    ("a_file_of_another_kind_is_unavailable", hostile::a_file_of_another_kind_is_unavailable),
    (
        "a_file_with_flipped_bits_gives_no_wrong_answer",
        hostile::a_file_with_flipped_bits_gives_no_wrong_answer,
    ),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--inside") {
        let name = arguments.next().expect("a scenario's name");
        let (_, scenario) = SCENARIOS.iter().find(|(known, _)| *known == name).expect("a known scenario");
        scenario(&Host::enter());
        return ExitCode::SUCCESS;
    }
    let library = build_library();
    let directory = library.parent().expect("has a directory").to_owned();
    let mut trials: Vec<Trial> = SCENARIOS
        .iter()
        .map(|(name, _)| {
            let directory = directory.clone();
            Trial::test(*name, move || run_inside(name, &directory))
        })
        .collect();
    let checked = library.clone();
    trials.push(Trial::test("the_library_is_fit_to_ship", move || check_library(&checked)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Builds what is shipped, not what the test's own profile would give.
fn build_library() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("is in the target directory");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "nss", "--package", "nss-hostward", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the library cannot be built");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nss-hostward");
    std::fs::create_dir_all(&directory).expect("a directory for the library");
    let library = directory.join("libnss_hostward.so.2");
    std::fs::copy(target.join("nss/libnss_hostward.so"), &library)
        .expect("the library is where cargo puts it");
    library
}

fn run_inside(name: &str, directory: &Path) -> Result<(), Failed> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--inside", name])
        .env("LD_LIBRARY_PATH", directory)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{}\n{said}", output.status).into()) }
}

fn check_library(file: &Path) -> Result<(), Failed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("check-library.sh");
    let output = Command::new("sh").arg(script).arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{}\n{said}", output.status).into()) }
}
