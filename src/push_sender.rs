//! Hands a push to the provider of its device.
