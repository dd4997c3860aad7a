//! Which "gone" is believed: a success in between, and a small share of recent sends, tell one device's end from a wrong configuration of everybody's.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::ids::MailboxId;
use crate::ports::push_sender::PushToken;
use crate::settings::Settings;
use crate::time::Monotonic;

/// How many of the last sends are looked at, and how many devices may be doubted.
const RECENT: usize = 64;
/// So often, each time [`Settings::breaker_pause`] after the last, must a provider say for certain that a channel's only device is gone before it is believed.
const CERTAIN: u32 = 5;
/// A doubt ends when nothing was heard of the device for so long: what waited for it has expired.
const DOUBT_LASTS: Duration = Duration::from_secs(86_400);
/// How many tokens that had an accepted push are remembered, twice.
const KNOWN: usize = 4_096;

/// A device whose "gone" was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubted {
    mailbox: MailboxId,
    /// The hash of its token.
    token: u64,
    heard: Monotonic,
    /// From when on a second word counts.
    second_from: Monotonic,
    /// How often its provider said so for certain.
    certain: u32,
    /// What is said before this was said already.
    counts_from: Monotonic,
}

/// What is made of a "gone".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Believed {
    /// The device is gone.
    Yes,
    /// It is doubted; whether that speaks against the channel.
    No {
        /// A token that never had an accepted push says nothing while others are accepted.
        counts: bool,
    },
}

/// What is known of the devices of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// The last sends that were accepted (none) or whose device seemed gone (of which mailbox: one in the list at most, however many devices it has).
    sends: VecDeque<Option<MailboxId>>,
    doubted: VecDeque<Doubted>,
    /// A device seemed gone since the last success.
    again: bool,
    /// A channel's only device was believed to be gone; until a push is taken, no other one is.
    believed: bool,
    /// Tokens that had an accepted push: the newer half and the older.
    known: (BTreeSet<u64>, BTreeSet<u64>),
}

impl Gone {
    /// A push was taken.
    pub(super) fn accepted(&mut self, token: &PushToken) {
        let token = hash(token);
        (self.again, self.believed) = (false, false);
        self.push(None);
        if !self.doubted.is_empty() {
            self.doubted.retain(|doubted| doubted.token != token);
        }
        if self.known.0.len() == KNOWN && !self.known.0.contains(&token) {
            self.known.1 = std::mem::take(&mut self.known.0);
        }
        self.known.0.insert(token);
    }

    /// A device seems gone. `contradicted`: others were accepted lately.
    pub(super) fn seems(
        &mut self,
        now: Monotonic,
        (mailbox, token): (MailboxId, &PushToken),
        certain: bool,
        contradicted: bool,
        settings: &Settings,
    ) -> Believed {
        let token = hash(token);
        let known = self.known.0.contains(&token) || self.known.1.contains(&token);
        // Two in a row may be the first two of everybody: one in between that is taken makes the difference.
        let again = std::mem::replace(&mut self.again, true);
        if !self.sends.contains(&Some(mailbox)) {
            self.push(Some(mailbox));
        }
        self.doubted.retain(|doubted| now.since(doubted.heard) < DOUBT_LASTS);
        if !again && !self.suspicious(settings) {
            // A token that worked may be refused for a fault of ours in one push: that takes a second word, a pause later.
            let second = |doubted: &Doubted| doubted.token == token && now >= doubted.second_from;
            if certain || !known || self.doubted.iter().any(second) {
                self.doubted.retain(|doubted| doubted.token != token);
                return Believed::Yes;
            }
        }
        self.doubt(now, mailbox, token, settings);
        if certain && self.believes_the_only(now, token, settings) {
            return Believed::Yes;
        }
        Believed::No { counts: known || !contradicted }
    }

    fn doubt(&mut self, now: Monotonic, mailbox: MailboxId, token: u64, settings: &Settings) {
        if let Some(doubted) = self.doubted.iter_mut().find(|doubted| doubted.token == token) {
            doubted.heard = now;
            return;
        }
        if self.doubted.len() == RECENT {
            // A mailbox with many tokens drives out its own.
            let place = self.doubted.iter().position(|doubted| doubted.mailbox == mailbox).unwrap_or(0);
            self.doubted.remove(place);
        }
        let second_from = now + settings.breaker_pause;
        self.doubted.push_back(Doubted { mailbox, token, heard: now, second_from, certain: 0, counts_from: Monotonic(0) });
    }

    /// Whether the one device that seems gone is believed to be: nobody else's success can tell it from a wrong configuration, but its provider's certainty can,
    /// said again and again. As long as any other device is doubted it is everybody, and nobody is forgotten.
    fn believes_the_only(&mut self, now: Monotonic, token: u64, settings: &Settings) -> bool {
        let [doubted] = self.doubted.make_contiguous() else { return false };
        if self.believed || doubted.token != token || now < doubted.counts_from {
            return false;
        }
        doubted.certain += 1;
        doubted.counts_from = now + settings.breaker_pause;
        if doubted.certain < CERTAIN {
            return false;
        }
        self.doubted.clear();
        self.believed = true;
        true
    }

    fn push(&mut self, send: Option<MailboxId>) {
        if self.sends.len() == RECENT {
            self.sends.pop_front();
        }
        self.sends.push_back(send);
    }

    /// Too large a share of the recent sends came back as gone.
    fn suspicious(&self, settings: &Settings) -> bool {
        let gone = self.sends.iter().flatten().count();
        gone as f64 > self.sends.len() as f64 * settings.breaker_share
    }
}

fn hash(token: &PushToken) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.0.hash(&mut hasher);
    hasher.finish()
}
