//! Why a stream is over, and what is made of it.

use super::error::EwsError;
use crate::telemetry::metrics::StreamEnd;

/// Why a stream is over.
#[derive(Debug)]
pub enum Ended {
    /// It ended in order, or for reasons that opening it again mends: that is done at once.
    Reopen(StreamEnd),
    /// Some of what it was opened with is gone: opened again at once with the others, whose trouble it is not.
    Fewer,
    /// Subscriptions are gone that the server does not name.
    Suspects {
        /// Whether the mailboxes may live elsewhere.
        rediscover: bool,
    },
    /// It failed: opened again after a delay.
    Failed(EwsError),
}

impl Ended {
    /// Why notifications are interrupted, as a code; `None` if it was told when the fault was read.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        match self {
            Self::Reopen(StreamEnd::Closed) => Some("StreamClosed".into()),
            Self::Reopen(StreamEnd::Silent) => Some("StreamSilent".into()),
            Self::Reopen(StreamEnd::Broken) => Some("StreamBroken".into()),
            Self::Reopen(StreamEnd::Refused | StreamEnd::Regrouped) | Self::Fewer | Self::Suspects { .. } => None,
            Self::Failed(error) => Some(error.code()),
        }
    }

    /// What it is in metrics; `None` if nothing was opened.
    #[must_use]
    pub fn why(&self) -> Option<StreamEnd> {
        match self {
            Self::Reopen(why) => Some(*why),
            Self::Fewer | Self::Suspects { .. } => Some(StreamEnd::Refused),
            Self::Failed(EwsError::Silence(_) | EwsError::NoTurn) => None,
            Self::Failed(EwsError::Deadline) => Some(StreamEnd::Silent),
            Self::Failed(EwsError::Transport(_) | EwsError::Answer(_) | EwsError::TooLong(_)) => Some(StreamEnd::Broken),
            Self::Failed(_) => Some(StreamEnd::Refused),
        }
    }
}
