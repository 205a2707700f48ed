//! The installed package on throwaway systemd hosts
