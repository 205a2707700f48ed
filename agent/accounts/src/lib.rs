//! The account database: its format, reader and writer
