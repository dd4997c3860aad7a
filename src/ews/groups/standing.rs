//! What groups remember of trouble: subscriptions that ended, mailboxes that spoil the streams of others, servers that take fewer to a stream.
//!
//! Rules. One mailbox whose subscription ends early three times in a row has a stream of its own for an hour. A server that twice in a row refuses most of
//! what a stream is opened with, and never let it speak, gets smaller groups for an hour, twice as long the next time. While no subscription of a server
//! speaks and many end, few are made.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ids::MailboxId;
use tokio::time::Instant;

use super::GroupKey;

/// Subscriptions whose end is remembered.
const MAX_ENDED: usize = 20_000;
/// Mailboxes of which early ends are remembered.
const MAX_FLIGHTY: usize = 20_000;
/// A subscription that ended before its stream has spoken for it so long ended early.
const EARLY: Duration = Duration::from_secs(60);
/// Early ends in a row after which a mailbox has a stream of its own.
const EARLY_ENDS: u8 = 3;
/// How long it has.
const ALONE: Duration = Duration::from_secs(3_600);
/// Openings in a row whose subscriptions were mostly refused, and groups become smaller.
const REFUSALS: u8 = 2;
/// How long they are smaller at first, and at most.
const SMALLER: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(24 * 3_600));
/// Subscriptions that may end in a row without a stream that speaks before few are made.
const UNHEARD: u32 = 20;
/// Longest pause between two subscriptions then.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How subscriptions were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The server says so of these.
    Refused,
    /// The server gives no streams at all, and others are tried.
    GivenUp,
}

/// A subscription that was lost.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    /// Whose.
    pub mailbox: MailboxId,
    /// Since when its stream spoke for it, if it ever did.
    pub heard: Option<Instant>,
}

#[derive(Debug, Default)]
struct Server {
    /// Groups are at most so large until then.
    smaller: Option<(usize, Instant)>,
    /// How long they were the last time.
    held: Duration,
    refusals: u8,
    /// Subscriptions that ended in a row without being heard.
    unheard: u32,
    next: Option<Instant>,
}

/// The memory.
#[derive(Debug, Default)]
pub struct Standing {
    ended: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
    flighty: HashMap<MailboxId, (u8, Instant)>,
    servers: HashMap<Arc<GroupKey>, Server>,
}

impl Standing {
    /// A subscription is nobody's from here on.
    pub fn ended(&mut self, subscription: Arc<str>) {
        if self.order.len() >= MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        if self.ended.insert(Arc::clone(&subscription)) {
            self.order.push_back(subscription);
        }
    }

    /// Whether the end of a subscription is known.
    pub fn has_ended(&self, subscription: &str) -> bool {
        self.ended.contains(subscription)
    }

    /// Whether a mailbox is to have a stream of its own.
    pub fn alone(&mut self, mailbox: MailboxId) -> bool {
        let Some((ends, until)) = self.flighty.get(&mailbox).copied() else { return false };
        if Instant::now() >= until {
            self.flighty.remove(&mailbox);
            return false;
        }
        ends >= EARLY_ENDS
    }

    /// How many may share a stream of this server, if groups may have `most`.
    pub fn size(&mut self, key: &GroupKey, most: usize) -> usize {
        let Some(server) = self.servers.get_mut(key) else { return most };
        match server.smaller {
            Some((size, until)) if Instant::now() < until => size.min(most),
            Some(_) => {
                server.smaller = None;
                tracing::info!(tenant = %key.tenant, server = %key.endpoint.url, size = most, "streams are shared by as many mailboxes as before again");
                most
            }
            None => most,
        }
    }

    /// How long it is until another subscription may be made at this server. Without a pause this counts as the next one.
    pub fn pause(&mut self, key: &GroupKey) -> Option<Duration> {
        let server = self.servers.get_mut(key)?;
        if server.unheard < UNHEARD {
            return None;
        }
        let now = Instant::now();
        if let Some(left) = server.next.and_then(|next| next.checked_duration_since(now)).filter(|left| !left.is_zero()) {
            return Some(left);
        }
        server.next = Some(now + (Duration::from_millis(50) * server.unheard).min(LONGEST_PAUSE));
        None
    }

    /// A stream speaks for so many subscriptions.
    pub fn speaks(&mut self, key: &GroupKey, subscriptions: usize) {
        if let Some(server) = self.servers.get_mut(key) {
            server.unheard = 0;
            if subscriptions > 1 {
                server.refusals = 0;
            }
        }
    }

    /// Of `total` subscriptions of a stream these were lost.
    pub fn lost(&mut self, key: &Arc<GroupKey>, total: usize, losses: &[Loss], how: Lost) {
        let now = Instant::now();
        let unheard = losses.iter().filter(|loss| loss.heard.is_none()).count();
        let server = self.servers.entry(Arc::clone(key)).or_default();
        server.unheard = server.unheard.saturating_add(u32::try_from(unheard).unwrap_or(u32::MAX));
        if how == Lost::GivenUp || losses.is_empty() {
            return;
        }
        if losses.len() * 2 <= total || total == 1 {
            losses.iter().for_each(|loss| self.ended_early(loss, now));
        } else if unheard == losses.len() {
            server.refusals += 1;
            if server.refusals >= REFUSALS {
                server.refusals = 0;
                let size = if losses.len() < total { total - losses.len() } else { total / 2 };
                server.held = (server.held * 2).clamp(SMALLER.0, SMALLER.1);
                server.smaller = Some((size, now + server.held));
                tracing::warn!(
                    tenant = %key.tenant, server = %key.endpoint.url, asked = total, taken = size, for_s = server.held.as_secs(),
                    "Exchange refuses most subscriptions of a stream: fewer mailboxes share one for a while; ews.group_size, set to what is taken, saves the tries"
                );
            }
        }
    }

    fn ended_early(&mut self, loss: &Loss, now: Instant) {
        if self.flighty.len() >= MAX_FLIGHTY {
            self.flighty.clear();
        }
        let early = loss.heard.is_none_or(|since| now.duration_since(since) < EARLY);
        let (ends, until) = self.flighty.entry(loss.mailbox).or_insert((0, now));
        // One that has a stream of its own is given another chance with the others after its time alone, not before.
        *ends = if early || *ends >= EARLY_ENDS { ends.saturating_add(1) } else { 0 };
        *until = now + ALONE;
    }
}
