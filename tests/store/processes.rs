//! Two processes on one file.
