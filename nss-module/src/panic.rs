//! The panic handler that must never be linked.

#![allow(unsafe_code)]

use core::panic::PanicInfo;

unsafe extern "C" {
    /// Defined nowhere. Whatever can reach a panic refers to it, and then the library does not link.
    #[cfg(not(debug_assertions))]
    safe fn hostward_nss_a_panic_is_reachable() -> !;
    #[cfg(debug_assertions)]
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    #[cfg(not(debug_assertions))]
    hostward_nss_a_panic_is_reachable();
    // Unoptimised code keeps checks that can never fail, so a debug build has to have somewhere to go.
    #[cfg(debug_assertions)]
    abort();
}
