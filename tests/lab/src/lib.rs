//! Throwaway systemd hosts for tests and demonstrations
