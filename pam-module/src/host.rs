//! The files that are looked at, below a root that is another directory in tests.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    /// The one that this runs on.
    pub(crate) fn here() -> Self {
        Self::at("/")
    }

    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `absolute` on this host.
    pub(crate) fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// The same for what wants it as C has it.
    pub(crate) fn c_path(&self, absolute: &str) -> Option<CString> {
        CString::new(self.path(absolute).as_os_str().as_bytes()).ok()
    }

    /// Where a symbolic link leads.
    pub(crate) fn link(&self, absolute: &str) -> Option<String> {
        Some(std::fs::read_link(self.path(absolute)).ok()?.to_string_lossy().into_owned())
    }

    /// At most the first `bound` bytes of a file of the kernel's.
    pub(crate) fn beginning(&self, absolute: &str, bound: u64) -> Option<Vec<u8>> {
        use std::io::Read;

        let mut content = Vec::new();
        std::fs::File::open(self.path(absolute)).ok()?.take(bound).read_to_end(&mut content).ok()?;
        Some(content)
    }

    /// A whole file, if it is a regular one of at most `bound` bytes. Does not wait for whatever else may be in its place.
    pub(crate) fn read(&self, absolute: &str, bound: u64) -> Option<Vec<u8>> {
        read(&self.path(absolute), bound)
    }
}

/// As [`Host::read`].
fn read(path: &Path, bound: u64) -> Option<Vec<u8>> {
    use std::io::Read;

    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let is_regular = file.metadata().ok()?.is_file();
    let mut content = Vec::new();
    file.take(bound + 1).read_to_end(&mut content).ok()?;
    (is_regular && content.len() as u64 <= bound).then_some(content)
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
