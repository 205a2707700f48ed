//! The agent against the mock backend on a real socket
