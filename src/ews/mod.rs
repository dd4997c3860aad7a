//! Exchange Web Services: the mail source for Exchange Server.

pub mod auth;
pub mod budget;
pub mod chance;
pub mod client;
pub mod doctor;
mod ended;
pub mod error;
pub mod groups;
pub mod health;
mod judgement;
pub mod mail_source;
pub mod piecewise;
mod record;
pub mod response_code;
pub mod soap;
pub mod streaming;
mod suspects;
pub mod watching;

pub use mail_source::{EwsMailSource, EwsParts};

#[cfg(test)]
mod tests;
