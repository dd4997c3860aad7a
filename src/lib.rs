//! Postrider's edges: they carry out what the core decides, towards Exchange, Apple, Google, the database, phones and operators.

pub mod api;
pub mod apns;
pub mod app;
pub mod autodiscover;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod descriptors;
pub mod ews;
pub mod exchange;
pub mod fcm;
pub mod http;
pub mod lives;
pub mod mail_source;
pub mod notification;
pub mod peers;
pub mod probe;
pub mod push_sender;
pub mod repeats;
pub mod store;
pub mod telemetry;
