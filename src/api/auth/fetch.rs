//! Reading the identity provider's public documents: https only, bounded in size and time, no redirects believed.

use std::time::Duration;

use async_trait::async_trait;

/// The largest document that is read; key sets of large providers have about 20 KB.
const SIZE_MAX: usize = 256 * 1024;
/// How long reading one document may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The address is not https or the answer came from another address.
    #[error("the address is not the pinned https address")]
    Address,
    /// No answer, or it broke off.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// An answer other than 200.
    #[error("the answer has the status {0}")]
    Status(u16),
    /// The document is too large or is not what it should be.
    #[error("the document is {0}")]
    Document(&'static str),
}

/// Reads a public document.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Reads what the address serves; ends within a deadline.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError>;
}

/// Reads with the outgoing client, which brings trust roots and TLS floor.
pub struct HttpFetch(pub reqwest::Client);

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        match tokio::time::timeout(TIMEOUT, self.read(url)).await {
            Ok(read) => read,
            Err(_) => Err(FetchError::Unreachable("timeout".to_owned())),
        }
    }
}

/// An error with what the layers below said of it, down to the lowest one.
fn causes(error: &dyn std::error::Error) -> String {
    let below = std::iter::successors(error.source(), |error| error.source());
    below.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl HttpFetch {
    async fn read(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let url = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "https").ok_or(FetchError::Address)?;
        let unreachable = |error: reqwest::Error| FetchError::Unreachable(causes(&error.without_url()));
        let mut answer = self.0.get(url.clone()).header("accept", "application/json").send().await.map_err(unreachable)?;
        if *answer.url() != url {
            return Err(FetchError::Address);
        }
        if answer.status().as_u16() != 200 {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if document.len() + chunk.len() > SIZE_MAX {
                return Err(FetchError::Document("larger than 256 KB"));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}
