//! The push provider: takes pushes, asks to come later, refuses, says that devices are gone, loses its answers.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_actors::delivery::message::code;
use postrider_actors::ids::{DeviceId, EventKey, MailboxId};
use postrider_actors::ports::push_sender::{Content, Push, Verdict};
use postrider_actors::time::Timestamp;
use uuid::Uuid;

use super::World;
use super::faults::Hit;
use super::history::What;
use super::machine::Uid;
use super::scheduler::{MILLI, Micros, SECOND, To};

/// How long a node waits for an answer.
const PATIENCE: Micros = 10 * SECOND;

/// What the provider does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes it.
    Well,
    /// Asks to come later.
    Later,
    /// Refuses our credentials.
    Credentials,
    /// Does not answer.
    Mute,
}

/// The provider.
pub struct Provider {
    /// What it does at this moment.
    pub mood: Mood,
    /// Apps that were removed from their phones, since when.
    pub gone: BTreeMap<String, Timestamp>,
    /// Every push that was begun to be sent, in order.
    pub sends: Vec<Send>,
}

/// One push that was sent.
#[derive(Debug, Clone)]
pub struct Send {
    /// When its sending began.
    pub began: Micros,
    /// From where.
    pub node: usize,
    /// About which mailbox.
    pub mailbox: MailboxId,
    /// For which device, as its row says.
    pub device: Option<DeviceId>,
    /// To which token.
    pub token: String,
    /// Its id.
    pub id: Uuid,
    /// Mails that it names.
    pub events: Vec<EventKey>,
    /// Mails that it counts.
    pub count: u32,
    /// When it was taken.
    pub accepted: Option<Micros>,
    /// Whether it was refused for good.
    pub refused: bool,
    /// When the node heard of it; none: never.
    pub heard: Option<Micros>,
    /// Whether what it heard was that the provider took it.
    pub known_taken: bool,
}

impl Default for Provider {
    fn default() -> Self {
        Self { mood: Mood::Well, gone: BTreeMap::new(), sends: Vec::new() }
    }
}

impl World {
    /// Sends a push.
    pub fn ask_push(
        &mut self,
        node: usize,
        delivery: Uid,
        mailbox: MailboxId,
        push: Push,
        reply: impl FnOnce(&mut World, Verdict) + 'static,
    ) {
        let number = self.provider.sends.len();
        let token = push.token.0.to_string();
        let device = self.db.store.read(|model| model.devices.iter().find(|(_, row)| *row.token.0 == *token).map(|(id, _)| *id));
        let events = if push.content == Content::BadgeOnly { Vec::new() } else { push.hashes };
        let mono = self.mono(node).0;
        let what = What::SendBegan { number: number as u64, mono, mailbox, device, id: push.id, events: events.clone() };
        self.note(Some(node), what);
        self.provider.sends.push(Send {
            began: self.now,
            node,
            mailbox,
            device,
            token,
            id: push.id,
            events,
            count: push.count,
            accepted: None,
            refused: false,
            heard: None,
            known_taken: false,
        });
        let to = self.whom(node);
        let there = self.dice.between(MILLI, 40 * MILLI);
        let request_lost = self.dice.hits(self.rates.push_lost);
        let answer_lost = self.dice.hits(self.rates.push_answer_lost);
        self.enter(there, To::World, move |world| {
            let verdict = if request_lost { None } else { world.provider_takes(number) };
            if request_lost || answer_lost {
                world.hit(Hit::PushAnswerLost);
            }
            let (after, verdict) = match verdict.filter(|_| !answer_lost) {
                Some(verdict) => (world.dice.between(MILLI, 40 * MILLI), verdict),
                None => (world.dice.between(50 * MILLI, PATIENCE), Verdict::Unknown { reason: code("connection_reset") }),
            };
            world.enter(after, to, move |world| {
                // One that was given up does not hear it.
                if world.delivery(node, delivery).is_some() {
                    world.heard(node, number, &verdict);
                }
                reply(world, verdict);
            });
        });
    }

    fn heard(&mut self, node: usize, number: usize, verdict: &Verdict) {
        let told = match verdict {
            Verdict::Accepted => "accepted",
            Verdict::Later { .. } => "later",
            Verdict::Unknown { .. } => "unknown",
            Verdict::DeviceGone { .. } => "gone",
            Verdict::Refused { .. } | Verdict::Undeliverable { .. } => "refused",
            Verdict::Credentials { .. } => "credentials",
        };
        let now = self.now;
        self.provider.sends[number].heard = Some(now);
        self.provider.sends[number].known_taken = *verdict == Verdict::Accepted;
        self.note(Some(node), What::Answered { number: number as u64, verdict: told });
    }

    /// What the provider does with a push; none: it does not answer.
    fn provider_takes(&mut self, number: usize) -> Option<Verdict> {
        let token = self.provider.sends[number].token.clone();
        if let Some(since) = self.provider.gone.get(&token).copied() {
            self.hit(Hit::DeviceGone);
            return Some(Verdict::DeviceGone { since: Some(since), certain: true, reason: code("Unregistered") });
        }
        match self.provider.mood {
            Mood::Later => {
                self.hit(Hit::PushLater);
                let after = self.dice.percent(50).then(|| Duration::from_millis(self.dice.between(100, 5_000).unsigned_abs()));
                return Some(Verdict::Later { after, reason: code("TooManyRequests") });
            }
            Mood::Credentials => {
                self.hit(Hit::Credentials);
                return Some(Verdict::Credentials { reason: code("InvalidProviderToken") });
            }
            Mood::Mute => {
                self.hit(Hit::PushAnswerLost);
                return None;
            }
            Mood::Well => {}
        }
        if self.dice.hits(self.rates.push_refused) {
            self.hit(Hit::PushRefused);
            self.provider.sends[number].refused = true;
            return Some(Verdict::Refused { reason: code("PayloadTooLarge") });
        }
        if self.dice.hits(self.rates.push_later) {
            self.hit(Hit::PushLater);
            return Some(Verdict::Later { after: None, reason: code("ServiceUnavailable") });
        }
        self.provider.sends[number].accepted = Some(self.now);
        self.note(None, What::Accepted { number: number as u64 });
        Some(Verdict::Accepted)
    }
}
