//! What backend and host say to each other, as types
