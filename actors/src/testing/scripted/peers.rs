//! Other nodes that answer a direct probe, or do not, as a test wants.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::ports::Peers;

/// The nodes; clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct ScriptedPeers {
    alive: Arc<Mutex<BTreeSet<String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ScriptedPeers {
    /// From here on the node at that address answers, or does not.
    pub fn alive(&self, addr: &str, alive: bool) {
        let mut nodes = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if alive {
            nodes.insert(addr.to_owned());
        } else {
            nodes.remove(addr);
        }
    }

    /// Who was asked, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Peers for ScriptedPeers {
    async fn probe(&self, addr: &str) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(addr.to_owned());
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).contains(addr)
    }
}
