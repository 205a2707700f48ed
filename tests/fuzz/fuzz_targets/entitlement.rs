//! Any entitlement: what is written to sudoers is one line a rule, and begins nothing else.
#![no_main]

use hostward_plan::facts::SudoDialect;
use hostward_plan::sudoers::{Dialects, express};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(entitlement) = serde_json::from_slice(data) else { return };
    for installed in [&[SudoDialect::Sudo][..], &[SudoDialect::Sudo, SudoDialect::SudoRs]] {
        for allow_raw in [false, true] {
            let expressed = express(&entitlement, Dialects { installed, allow_raw });
            for line in expressed.rules.iter().chain(&expressed.environment) {
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(!line.ends_with('\\'), "{line:?}");
            }
            for rule in &expressed.rules {
                assert!(rule.starts_with('('), "{rule:?}");
            }
        }
    }
});
