//! Asks another node directly whether it can act: `GET /readyz` at the address that it gave when it joined.
//!
//! Not whether its process lives: a node that cannot reach the database lives, and is to be replaced all the same.

use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ports::Peers;

use crate::http::{ClientOptions, HttpError, client};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// The other nodes over HTTP.
pub struct HttpPeers {
    client: reqwest::Client,
}

impl HttpPeers {
    /// Makes the edge; `outgoing` says whom to trust. Plain HTTP is allowed: nothing secret is said, and a wrong answer only delays a judgement.
    ///
    /// # Errors
    /// [`HttpError`] when the client cannot be made.
    pub fn new(outgoing: &ClientOptions) -> Result<Self, HttpError> {
        let options = ClientOptions { total_timeout: DEADLINE, connect_timeout: DEADLINE, https_only: false, ..outgoing.clone() };
        Ok(Self { client: client(&options)? })
    }
}

#[async_trait]
impl Peers for HttpPeers {
    async fn probe(&self, addr: &str) -> bool {
        if addr.is_empty() {
            return false;
        }
        let asked = self.client.get(format!("{}/readyz", addr.trim_end_matches('/'))).send();
        // The client's own deadline begins with the request; a name that cannot be looked up must not take longer either.
        let answer = tokio::time::timeout(DEADLINE, asked).await;
        matches!(answer, Ok(Ok(response)) if response.status().is_success())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::TrustRoots;

    fn peers() -> HttpPeers {
        crate::http::install_tls_provider();
        HttpPeers::new(&ClientOptions::new(TrustRoots::load(&[]).expect("the system's roots"))).expect("a client")
    }

    /// A server that answers every connection with that status line, or never.
    async fn server(status: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 1024]).await;
                    match status {
                        Some(status) => drop(stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        addr
    }

    #[tokio::test]
    async fn a_node_lives_if_it_answers_well_and_in_time() {
        let peers = peers();
        assert!(peers.probe(&server(Some("200 OK")).await).await);
        assert!(!peers.probe(&server(Some("503 Service Unavailable")).await).await);
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
        assert!(!peers.probe(&format!("http://{closed}")).await);
        assert!(!peers.probe("").await);
        let began = std::time::Instant::now();
        assert!(!peers.probe(&server(None).await).await);
        assert!(began.elapsed() < Duration::from_secs(4));
    }
}
