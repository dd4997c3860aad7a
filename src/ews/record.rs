//! What is kept of a subscription in the mailbox row, so that a successor can end it.

use postrider_actors::ports::mail_source::SubscriptionRecord;
use serde::{Deserialize, Serialize};

use super::client::Affinity;

/// The longest record that is written or believed.
pub const MAX_RECORD_BYTES: usize = 4096;

/// A subscription's id and place.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Record {
    /// Its id.
    pub id: String,
    /// The EWS address it was made at.
    pub url: String,
    /// The group's anchor.
    pub anchor: String,
    /// The affinity cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

impl Record {
    /// Notes a subscription.
    #[must_use]
    pub fn new(id: &str, url: &reqwest::Url, affinity: &Affinity) -> Self {
        Self {
            id: id.into(),
            url: url.as_str().into(),
            anchor: (*affinity.anchor).into(),
            cookie: affinity.cookie.as_deref().map(Into::into),
        }
    }

    /// The text form; empty (nothing to end) if it would be too long.
    #[must_use]
    pub fn write(&self) -> SubscriptionRecord {
        let text = serde_json::to_string(self).unwrap_or_default();
        SubscriptionRecord(if text.len() <= MAX_RECORD_BYTES { text.into() } else { "".into() })
    }

    /// Reads the text form; `None` if it is none of ours.
    #[must_use]
    pub fn read(record: &SubscriptionRecord) -> Option<Self> {
        (record.0.len() <= MAX_RECORD_BYTES).then(|| serde_json::from_str(&record.0).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_foreign_text_is_not_believed() {
        let affinity = Affinity { anchor: "a@b".into(), cookie: Some("c~1".into()) };
        let record = Record::new("id", &"https://x/EWS".parse().unwrap(), &affinity);
        assert_eq!(Record::read(&record.write()), Some(record));
        for foreign in ["", "{}", "[1]", "graph:123"] {
            assert_eq!(Record::read(&SubscriptionRecord(foreign.into())), None);
        }
    }
}
