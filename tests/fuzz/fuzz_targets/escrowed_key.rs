//! What a CA says is the escrowed key of a provisioner: any text of it, and any text that the right password finds in it.
#![no_main]

use hostward_step_ca::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    match (first % 2, str::from_utf8(rest)) {
        (0, Ok(jwe)) => fuzzing::open(jwe),
        _ => fuzzing::read(rest),
    }
});
