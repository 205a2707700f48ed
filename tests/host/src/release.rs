//! One test on several releases.

/// Makes a module called like each function, with one test a release, so that a failure names both:
///
/// ```ignore
/// on_each_release! {
///     /// What is promised.
///     fn something_holds(release) { … }
/// }
/// ```
#[macro_export]
macro_rules! on_each_release {
    ($($(#[$meta:meta])* fn $name:ident($release:ident) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "whatever the test uses")]
            use super::*;

            fn check($release: $crate::Release) $body

            #[test]
            fn bullseye() {
                check($crate::Release::Bullseye);
            }

            #[test]
            fn bookworm() {
                check($crate::Release::Bookworm);
            }

            #[test]
            fn trixie() {
                check($crate::Release::Trixie);
            }
        }
    )+};
}
