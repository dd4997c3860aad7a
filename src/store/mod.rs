//! The database: chooses the store by the configured URL.
