//! A mailbox's short memory of what happened to it, for whoever asks why there was no push.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::delivery::message::Work;
use crate::ports::mail_source::Hint;
use crate::ports::push_sender::Provider;
use crate::snapshot::JournalLine;
use crate::time::Timestamp;

/// How many entries are kept.
const MOST: usize = 24;

/// One thing that happened. Codes and counts only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The mail source heard something.
    Hint(Hint),
    /// Nothing is heard for a while: the stream is interrupted, or the subscription is lost.
    Interrupted {
        /// Whether the subscription is lost.
        lost: bool,
        /// The code of why.
        cause: Option<Arc<str>>,
    },
    /// The subscription was made.
    Watched,
    /// The subscription could not be made.
    WatchFailed(Arc<str>),
    /// A collection ended.
    Collected {
        /// What kind.
        work: Work,
        /// Mails announced.
        mails: u32,
        /// Pushes that it handed over.
        pushes: u32,
    },
    /// A collection brought nothing, and the server does not say that it is at the end.
    Endless(Work),
    /// A collection failed.
    CollectFailed(Work, Arc<str>),
    /// A provider answered.
    Answered {
        /// Which.
        provider: Provider,
        /// What it said.
        verdict: &'static str,
        /// Its code.
        reason: Arc<str>,
        /// It is not believed yet: the push is tried again at this time.
        doubted: Option<Timestamp>,
    },
    /// A push waits before it may be sent.
    Waits {
        /// For which provider.
        provider: Provider,
        /// For the whole channel, or for the device alone.
        channel: bool,
        /// Why the channel rests, in the provider's words.
        reason: Option<Arc<str>>,
        /// Until when.
        until: Timestamp,
    },
    /// The actor was started again after a bug.
    Restarted(u32),
}

impl Entry {
    fn tell(&self) -> String {
        match self {
            Self::Hint(Hint::Touched { mail, unread, .. }) => {
                let what = if *mail { "new mail" } else { "a change" };
                unread.map_or_else(|| format!("the server told of {what}"), |count| format!("the server told of {what}, {count} unread"))
            }
            Self::Hint(Hint::StreamOpened) => "the server's notifications flow".into(),
            Self::Hint(Hint::Gap) => interrupted(false, None),
            Self::Hint(Hint::SubscriptionLost { .. }) => interrupted(true, None),
            Self::Interrupted { lost, cause } => interrupted(*lost, cause.as_deref()),
            Self::Watched => "subscribed".into(),
            Self::WatchFailed(code) => format!("subscribing failed: {code}"),
            Self::Endless(work) => format!("{} found nothing, and the server does not say that there is no more", name(*work)),
            Self::Collected { work, mails, pushes } => {
                let (new, out) = (if *mails == 1 { "mail" } else { "mails" }, if *pushes == 1 { "push" } else { "pushes" });
                format!("{} found {mails} new {new}, {pushes} {out}", name(*work))
            }
            Self::CollectFailed(work, code) => format!("{} failed: {code}", name(*work)),
            Self::Answered { provider, verdict, reason, doubted: None } => format!("{} {verdict}: {reason}", provider.as_str()),
            Self::Answered { provider, verdict, reason, doubted: Some(at) } => {
                format!("{} {verdict}: {reason}; not believed yet, tried again at {}", provider.as_str(), clock(*at))
            }
            Self::Waits { provider, channel: false, until, .. } => {
                format!("{}: this device rests until {}", provider.as_str(), clock(*until))
            }
            Self::Waits { provider, reason, until, .. } => {
                let why = reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
                format!("{}: all pushes of the app rest until {}{why}", provider.as_str(), clock(*until))
            }
            Self::Restarted(times) => format!("restarted ({times} times)"),
        }
    }
}

/// The time of day, UTC.
fn clock(at: Timestamp) -> String {
    let seconds = at.epoch_seconds().rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// What keeps notifications away, and the code of why.
fn interrupted(lost: bool, cause: Option<&str>) -> String {
    let what = if lost { "the subscription is lost" } else { "the server's notifications are interrupted" };
    format!("{what}: {}", cause.unwrap_or("cause unknown"))
}

fn name(work: Work) -> &'static str {
    match work {
        Work::Sync => "sync",
        Work::Seed => "first reading",
        Work::Recent => "look for recent mail",
        Work::Resend => "look at waiting pushes",
    }
}

/// The memory; shared by a mailbox actor and its deliveries.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<VecDeque<(Timestamp, Entry)>>,
}

impl Journal {
    /// Notes one thing; the oldest is forgotten. A hint that repeats the last one within a second says nothing.
    pub fn note(&self, at: Timestamp, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((before, Entry::Hint(_))), Entry::Hint(Hint::Touched { .. })) = (entries.back(), &entry)
            && at.since(*before) < Duration::from_secs(1)
        {
            entries.pop_back();
        }
        // A wait that goes on is one line.
        if let (Some((_, Entry::Waits { provider, channel, .. })), Entry::Waits { provider: of, channel: whole, .. }) =
            (entries.back(), &entry)
            && (provider, channel) == (of, whole)
        {
            entries.pop_back();
        }
        if entries.len() == MOST {
            entries.pop_front();
        }
        entries.push_back((at, entry));
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<JournalLine> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(at, entry)| JournalLine { at: *at, what: entry.tell() }).collect()
    }
}
