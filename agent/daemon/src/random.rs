//! Randomness, from the system.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` random bytes.
fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Fails only where the kernel has no entropy source at all, where no TLS would work either.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        log::error!("the system gives no random numbers");
        std::process::abort();
    }
    bytes
}

/// A number in `0.0..1.0`.
pub fn fraction() -> f64 {
    (u64::from_le_bytes(bytes()) >> 11) as f64 / (1_u64 << 53) as f64
}

/// 128 bits, hexadecimal: for what people read.
pub fn hex_id() -> String {
    crate::machine::hex(&bytes::<16>())
}

/// 128 bits, base64url: for idempotency keys and credential ids.
pub fn id() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}
