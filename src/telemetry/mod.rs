//! Logs, metrics and their catalogue.
