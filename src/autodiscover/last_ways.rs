//! What is tried when no https candidate answered: an unencrypted redirection, and what DNS says (MS-OXDISCO 3.1.5.3, 3.1.5.4).

use async_trait::async_trait;
use rand::Rng as _;
use reqwest::Url;

use super::candidates::{Srv, unencrypted};
use super::srv::Resolver;
use crate::http::names::Names;

/// The last ways to a server; neither sees credentials.
#[async_trait]
pub trait LastWays: Send + Sync + 'static {
    /// The address whose unencrypted answer may redirect.
    fn unencrypted(&self, domain: &str) -> Option<Url>;

    /// The records `_autodiscover._tcp.<domain>`.
    ///
    /// # Errors
    /// A short text for traces.
    async fn records(&self, domain: &str) -> Result<Vec<Srv>, String>;

    /// A number from zero up to and including `most`, by chance: which of several records is asked first.
    fn draw(&self, most: u32) -> u32;
}

/// Port 80 of `autodiscover.<domain>`, and DNS.
pub struct Usual(Resolver);

impl Usual {
    /// Asks for records where these names are asked for.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self(Resolver(names))
    }
}

#[async_trait]
impl LastWays for Usual {
    fn unencrypted(&self, domain: &str) -> Option<Url> {
        unencrypted(domain)
    }

    async fn records(&self, domain: &str) -> Result<Vec<Srv>, String> {
        self.0.records(domain).await
    }

    fn draw(&self, most: u32) -> u32 {
        rand::rng().random_range(0..=most)
    }
}
