//! HTTP API for phones, mobile-management servers and administrators.
