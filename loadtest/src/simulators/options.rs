//! What can be chosen about the simulated world.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Serialize;

use crate::credentials::Credentials;

/// Whether things go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FaultLevel {
    /// Nothing goes wrong.
    #[default]
    None,
    /// Everything goes wrong now and then, as the seed decides.
    Storm,
}

/// Where the simulators listen; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Exchange and autodiscover, https.
    pub exchange: u16,
    /// The identity provider, https.
    pub identity: u16,
    /// APNs, production.
    pub apns: u16,
    /// APNs, sandbox.
    pub apns_sandbox: u16,
    /// FCM and its token endpoint, https.
    pub fcm: u16,
}

impl Ports {
    /// The ports that `config/development.toml` names.
    pub const DEVELOPMENT: Self = Self { exchange: 9443, identity: 9444, apns: 9445, apns_sandbox: 9448, fcm: 9446 };
    /// Whatever is free.
    pub const FREE: Self = Self { exchange: 0, identity: 0, apns: 0, apns_sandbox: 0, fcm: 0 };
}

/// How the world is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// From which all faults are drawn.
    pub seed: u64,
    /// Whether things go wrong.
    pub faults: FaultLevel,
    /// Where to listen.
    pub address: IpAddr,
    /// On which ports.
    pub ports: Ports,
    /// Host names in the servers' certificates besides `localhost`, for clients whose address of a provider is fixed.
    pub names: Vec<String>,
    /// Between two signs of life on a quiet stream of Exchange; 45 s on the real one.
    pub heartbeat: Duration,
    /// What `ConnectionTimeout` of a stream counts in: a minute, or less in a test.
    pub stream_minute: Duration,
    /// The product's coalescing window, by which lateness is judged.
    pub window: Duration,
    /// Whether a well-formed device token that nobody entered counts as installed.
    pub take_strangers: bool,
    /// Whether FCM names the field that it refuses, as it did in 2018, rather than giving its error code alone.
    pub fcm_names_violations: bool,
    /// Bundle ids that may be pushed to.
    pub topics: Vec<String>,
    /// `aud` of phone users' tokens.
    pub audience: String,
    /// Streams that APNs allows at a time on one connection.
    pub apns_streams: u32,
    /// Whether APNs keeps account of which connection each push came on.
    pub note_callers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            faults: FaultLevel::None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports::FREE,
            names: Vec::new(),
            heartbeat: Duration::from_secs(45),
            stream_minute: Duration::from_secs(60),
            window: Duration::from_secs(3),
            take_strangers: false,
            fcm_names_violations: false,
            topics: vec![Credentials::APP.to_owned()],
            audience: "postrider".to_owned(),
            apns_streams: 1_000,
            note_callers: false,
        }
    }
}
