//! The Debian package: what it installs, and that it leaves nothing.
