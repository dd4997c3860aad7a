//! What the ledger is told: phones, and the pushes that a provider took for them.

use std::fmt;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Who carries a push to the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::Apns => "apns",
            Provider::Fcm => "fcm",
        })
    }
}

/// The short hash by which a push names a mail: the first 6 bytes of SHA-256 over the item id without its change key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortHash([u8; 6]);

impl ShortHash {
    /// The short hash of an item id.
    pub fn of_item(item_id: &str) -> Self {
        let whole = digest(&SHA256, item_id.as_bytes());
        let mut short = [0; 6];
        short.copy_from_slice(&whole.as_ref()[..6]);
        Self(short)
    }

    /// Reads the 8 characters of base64url that stand in a push; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 8 {
            return None;
        }
        let mut short = [0; 6];
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut short).ok()?;
        (written == 6).then_some(Self(short))
    }
}

impl fmt::Display for ShortHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for ShortHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A phone that a user registered with the product.
#[derive(Clone)]
pub struct Device {
    /// The provider's device token.
    pub token: String,
    /// Who carries its pushes.
    pub provider: Provider,
    /// SMTP address of the mailbox that it belongs to.
    pub mailbox: String,
    /// How long after its last use a phone is still shown mail details; zero means never.
    pub cutoff: Duration,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("provider", &self.provider)
            .field("mailbox", &self.mailbox)
            .field("cutoff", &self.cutoff)
            .finish_non_exhaustive()
    }
}

/// What a push is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushKind {
    /// It announces mail.
    Mail,
    /// It only sets the number on the app's icon.
    Badge,
}

/// Until when a provider may still show a push on the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is tried once, on arrival.
    AtOnce,
    /// Milliseconds since 1970-01-01 UTC.
    At(i64),
    /// The sender named no limit: the provider keeps it for weeks.
    Unbounded,
}

/// A push that a provider accepted.
#[derive(Clone, Copy)]
pub struct Push<'a> {
    /// Who took it.
    pub provider: Provider,
    /// The device token it was sent to.
    pub token: &'a str,
    /// What stays the same when one push is sent again: the `apns-id`, or FCM's `tag`.
    pub id: &'a str,
    /// Mail or badge.
    pub kind: PushKind,
    /// How many mails it says it announces.
    pub count: u32,
    /// The mails that it names, newest first.
    pub hashes: &'a [ShortHash],
    /// Whether it shows a sender, a subject or a preview.
    pub details: bool,
    /// The number for the app's icon, if it carries one.
    pub badge: Option<u64>,
    /// Until when it may appear.
    pub expiry: Expiry,
    /// When the request arrived, for latencies.
    pub arrived: Instant,
    /// When the request arrived, in milliseconds since 1970-01-01 UTC, for the cut-off.
    pub arrived_ms: i64,
    /// The payload as it came, for the display of a sample.
    pub payload: &'a [u8],
}

impl fmt::Debug for Push<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("provider", &self.provider)
            .field("kind", &self.kind)
            .field("count", &self.count)
            .field("hashes", &self.hashes)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

/// Whether an alert shows nothing but the agreed words: "New mail", and "You have new mail" or "You have N new mails".
pub(crate) fn says_only_that_there_is_mail(title: Option<&str>, body: Option<&str>) -> bool {
    let (Some("New mail"), Some(body)) = (title, body) else {
        return false;
    };
    body == "You have new mail"
        || body
            .strip_prefix("You have ")
            .and_then(|rest| rest.strip_suffix(" new mails"))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_hash_is_eight_characters_and_reads_back() {
        let hash = ShortHash::of_item("AAMkAD=");
        let text = hash.to_string();
        assert_eq!(text.len(), 8);
        assert_eq!(ShortHash::parse(&text), Some(hash));
        for bad in ["", "AAAA", "AAAAAAAAA", "AAAA AAA", "AAAAAAA=", "éééé"] {
            assert_eq!(ShortHash::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_hash_is_the_first_six_bytes_of_sha_256() {
        // SHA-256("abc") begins with ba7816bf8f01 (FIPS 180-2, appendix B.1).
        assert_eq!(ShortHash::of_item("abc").to_string(), "ungWv48B");
    }
}
