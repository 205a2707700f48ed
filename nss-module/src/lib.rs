//! The NSS module libnss_hostward.so.2
