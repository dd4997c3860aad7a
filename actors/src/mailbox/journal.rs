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
    Answered(Provider, &'static str, Arc<str>),
    /// The actor was started again after a bug.
    Restarted(u32),
}

impl Entry {
    fn tell(&self) -> String {
        match self {
            Self::Hint(Hint::Touched { mail, unread, .. }) => {
                let what = if *mail { "mail" } else { "change" };
                unread.map_or_else(|| format!("hint {what}"), |count| format!("hint {what}, {count} unread"))
            }
            Self::Hint(Hint::StreamOpened) => "stream opened".into(),
            Self::Hint(Hint::Gap) => "stream gap".into(),
            Self::Hint(Hint::SubscriptionLost { .. }) => "subscription lost".into(),
            Self::Watched => "subscribed".into(),
            Self::WatchFailed(code) => format!("subscribing failed: {code}"),
            Self::Collected { work, mails, pushes } => format!("{} found {mails} new mails, {pushes} pushes", name(*work)),
            Self::Endless(work) => format!("{} found nothing, and the server does not say that there is no more", name(*work)),
            Self::CollectFailed(work, code) => format!("{} failed: {code}", name(*work)),
            Self::Answered(provider, verdict, reason) => format!("{} {verdict}: {reason}", provider.as_str()),
            Self::Restarted(times) => format!("restarted ({times} times)"),
        }
    }
}

fn name(work: Work) -> &'static str {
    match work {
        Work::Sync => "sync",
        Work::Seed => "seeding",
        Work::Recent => "look for recent mail",
        Work::Resend => "repeat",
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
