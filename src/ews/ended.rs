//! Why a stream is over, and what is made of it.

use super::error::EwsError;
use crate::telemetry::metrics::StreamEnd;

/// Why a stream is over.
#[derive(Debug)]
pub enum Ended {
    /// It ended in order, or for reasons that opening it again mends: that is done at once.
    Reopen(StreamEnd),
    /// Subscriptions are gone that the server does not name.
    Suspects {
        /// Whether the mailboxes may live elsewhere.
        rediscover: bool,
    },
    /// It failed: opened again after a delay.
    Failed(EwsError),
}

impl Ended {
    /// What it is in metrics; `None` if nothing was opened.
    #[must_use]
    pub fn why(&self) -> Option<StreamEnd> {
        match self {
            Self::Reopen(why) => Some(*why),
            Self::Suspects { .. } => Some(StreamEnd::Refused),
            Self::Failed(EwsError::Silence(_) | EwsError::NoTurn) => None,
            Self::Failed(EwsError::Deadline) => Some(StreamEnd::Silent),
            Self::Failed(EwsError::Transport(_) | EwsError::Answer(_) | EwsError::TooLong(_)) => Some(StreamEnd::Broken),
            Self::Failed(_) => Some(StreamEnd::Refused),
        }
    }
}
