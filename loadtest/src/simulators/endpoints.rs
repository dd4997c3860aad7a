//! Where the simulated servers are.

use std::net::SocketAddr;

use serde::Serialize;

use crate::apple::Apple;
use crate::credentials::Credentials;
use crate::google::Google;
use crate::{exchange, identity};

use super::start::NAMES;

/// Where everything is, as a product's configuration needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// `https://host:port` of Exchange.
    pub exchange: String,
    /// The address of its web services.
    pub ews: String,
    /// SOAP autodiscover.
    pub autodiscover: String,
    /// Where OAuth client credentials are turned into a token.
    pub oauth_token: String,
    /// The identity provider's authority, without the tenant.
    pub oauth_authority: String,
    /// The issuer of phone users' tokens.
    pub issuer: String,
    /// The issuer's keys.
    pub jwks: String,
    /// `https://host:port` of APNs, production.
    pub apns: String,
    /// `https://host:port` of APNs, sandbox.
    pub apns_sandbox: String,
    /// `https://host:port` of FCM.
    pub fcm: String,
    /// Where the service account's assertion is turned into a token.
    pub fcm_token: String,
}

impl Endpoints {
    /// Of running servers; of Apple's, production comes first.
    pub(super) fn of(exchange: &exchange::Server, identity: &identity::Server, apples: [&Apple; 2], google: &Google) -> Self {
        let at = |address: SocketAddr| format!("https://{}:{}", NAMES[0], address.port());
        let (authority, fcm) = (identity.base_url().to_owned(), at(google.address()));
        Self {
            exchange: exchange.base_url().to_owned(),
            ews: exchange.ews_url(),
            autodiscover: format!("{}/autodiscover/autodiscover.svc", exchange.base_url()),
            oauth_token: format!("{authority}/{}/oauth2/v2.0/token", Credentials::TENANT),
            issuer: authority.clone(),
            jwks: format!("{authority}/jwks"),
            oauth_authority: authority,
            apns: at(apples[0].address()),
            apns_sandbox: at(apples[1].address()),
            fcm_token: format!("{fcm}/token"),
            fcm,
        }
    }
}
