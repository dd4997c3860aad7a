//! The port to the other nodes, asked directly whether they live, when many of them seem to be lost at once.

use async_trait::async_trait;

/// The port itself. Nothing is decided by an answer alone: it only holds back the judgement that a node is dead.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Whether the node at that address (`http://host:port`) answers within two seconds. An empty address never does.
    async fn probe(&self, addr: &str) -> bool;
}
