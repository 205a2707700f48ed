//! One test on several releases.

/// Makes one test a release of each function that takes a [`crate::Release`], in a module of its name, so that a
/// failure names both:
///
/// ```text
/// on_each_release!(something_holds, something_else_holds);
///
/// /// What is promised.
/// fn something_holds(release: Release) { … }
/// ```
#[macro_export]
macro_rules! on_each_release {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn bullseye() {
                super::$name($crate::Release::Bullseye);
            }

            #[test]
            fn bookworm() {
                super::$name($crate::Release::Bookworm);
            }

            #[test]
            fn trixie() {
                super::$name($crate::Release::Trixie);
            }
        }
    )+};
    // The functions in place; rustfmt does not look into such a call.
    ($($(#[$meta:meta])* fn $name:ident($release:ident) $body:block)+) => {
        $($(#[$meta])* fn $name($release: $crate::Release) $body)+
        $crate::on_each_release!($($name),+);
    };
}
