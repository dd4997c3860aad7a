//! The outgoing HTTP client: TLS, trust roots, timeouts.
