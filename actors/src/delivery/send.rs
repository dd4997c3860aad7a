//! The sending part of a delivery: rows in hand become pushes, and what providers say becomes marks and retries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Authority, DeliveryId, DeviceId, EventKey, Generation, ItemId, MailboxId};
use crate::ports::StoreError;
use crate::ports::delivery_store::{Mark, Pending, Retry, Settled};
use crate::ports::device_store::{DeviceNow, Recipient};
use crate::ports::mail_source::{MailContent, SourceError};
use crate::ports::mailbox_store::{DeliveryKind, Inserted, NewDelivery};
use crate::ports::push_sender::{Channel, Content, Permit, Push, Verdict};
use crate::settings::{HASHES_PER_PUSH, Settings};
use crate::time::{Monotonic, Timestamp};

use super::batch::{Held, HoldBudget};
use super::fanout::push_id;
use super::message::{Moment, Order, Sent, code};
use super::policy;
use super::retry::{Chance, backoff};

/// How many pushes one delivery has in hand; what is more stays PENDING for the next.
pub const PUSHES_PER_DELIVERY: usize = 32;
/// How often content is asked for before a push goes without details.
const CONTENT_TRIES: u32 = 2;
/// What a delivery that rests costs besides its content: its actor.
const ACTOR_BYTES: usize = 16 << 10;
/// What a call to an edge may take beyond its own deadline before its answer is given up.
const GRACE: Duration = Duration::from_secs(120);

/// One row of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub id: DeliveryId,
    /// What it is about.
    pub event: EventKey,
    /// Which mail; none for a badge.
    pub item: Option<ItemId>,
    /// When the mail was received.
    pub received_at: Timestamp,
    /// How many mails it stands for.
    pub count: u32,
}

/// One push to one device: rows with one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub device: DeviceId,
    /// The registration that the rows were made for.
    pub generation: Generation,
    /// Where room is asked for; none: the device is gone.
    pub channel: Option<Channel>,
    /// Mail or badge.
    pub kind: DeliveryKind,
    /// What its ids derive from.
    pub group: EventKey,
    /// Newest first.
    pub rows: Vec<Row>,
    /// Answered tries so far.
    pub attempts: u32,
    /// Whether each of them was definitely not taken.
    pub refused: bool,
    /// Not worth sending after.
    pub expires_at: Timestamp,
}

impl Outgoing {
    /// The pushes of rows that were just committed: those that are new, by device.
    #[must_use]
    pub fn from_inserted(rows: &[NewDelivery], inserted: &[Inserted], recipients: &[Recipient]) -> Vec<Self> {
        let ids: BTreeMap<(DeviceId, EventKey), DeliveryId> = inserted.iter().map(|row| ((row.device, row.event), row.id)).collect();
        let mut pushes: Vec<Self> = Vec::new();
        for row in rows {
            let Some(&id) = ids.get(&(row.device, row.event)) else { continue };
            let line = Row { id, event: row.event, item: row.item.clone(), received_at: row.received_at, count: row.count };
            match pushes.last_mut() {
                Some(push) if push.device == row.device && push.group == row.group => push.rows.push(line),
                _ => pushes.push(Self {
                    device: row.device,
                    generation: row.generation,
                    channel: channel_of(recipients, row.device),
                    kind: row.kind,
                    group: row.group,
                    rows: vec![line],
                    attempts: 0,
                    refused: true,
                    expires_at: row.expires_at,
                }),
            }
        }
        pushes
    }

    /// The pushes of rows that were left behind. Rows whose tries were definitely not taken collapse into the newest of their device; a row that
    /// may have been taken keeps its ids.
    #[must_use]
    pub fn from_pending(rows: &[Pending], recipients: &[Recipient], now: Timestamp) -> Vec<Self> {
        let mut groups: BTreeMap<(DeviceId, EventKey), Self> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.attempts == 0 || row.next_at <= now) {
            let push = groups.entry((row.device, row.group)).or_insert_with(|| Self {
                device: row.device,
                generation: row.generation,
                channel: channel_of(recipients, row.device),
                kind: row.kind,
                group: row.group,
                rows: Vec::new(),
                attempts: row.attempts,
                refused: true,
                expires_at: row.expires_at,
            });
            push.attempts = push.attempts.max(row.attempts);
            push.refused &= row.refused && row.attempts > 0;
            push.expires_at = push.expires_at.max(row.expires_at);
            push.rows.push(Row { id: row.id, event: row.event, item: row.item.clone(), received_at: row.received_at, count: row.count });
        }
        let mut pushes: Vec<Self> = Vec::new();
        for mut push in groups.into_values() {
            push.rows.sort_by_key(|row| std::cmp::Reverse((row.received_at, row.event)));
            match pushes.iter_mut().find(|other| other.collapses_with(&push)) {
                Some(other) => other.absorb(push),
                None => pushes.push(push),
            }
        }
        pushes.sort_by_key(|push| push.rows.first().map(|row| row.received_at));
        pushes
    }

    fn collapses_with(&self, other: &Self) -> bool {
        self.refused && other.refused && self.device == other.device && self.generation == other.generation && self.kind == other.kind
    }

    fn absorb(&mut self, mut other: Self) {
        let newest = |push: &Self| push.rows.first().map(|row| row.received_at);
        if newest(&other) > newest(self) {
            std::mem::swap(self, &mut other);
        }
        self.rows.append(&mut other.rows);
        self.rows.sort_by_key(|row| std::cmp::Reverse((row.received_at, row.event)));
        self.attempts = self.attempts.max(other.attempts);
    }
}

fn channel_of(recipients: &[Recipient], device: DeviceId) -> Option<Channel> {
    recipients.iter().find(|recipient| recipient.device == device).map(|recipient| recipient.channel.clone())
}

/// What the sending part wants done.
#[derive(Debug)]
pub enum Effect {
    /// Read what these mails show.
    Contents(Vec<(EventKey, ItemId)>),
    /// Read the unread count.
    Unread,
    /// Wait for room.
    Room(usize, Channel),
    /// Read the device as it is now.
    Device(usize, DeviceId),
    /// Send; the gate was open in this step and is read once more before the first byte.
    Send {
        /// Which of the pushes.
        place: usize,
        /// Its room.
        permit: Permit,
        /// What is sent.
        push: Push,
        /// When the newest mail of it was received; none for a badge.
        received_at: Option<Timestamp>,
    },
    /// Forget a device that is definitely gone.
    Forget(DeviceId, Generation, Option<Timestamp>),
    /// Write marks and retries.
    Write(Vec<Mark>, Vec<Retry>),
    /// Over; with `left`, rows stay PENDING that nobody holds.
    Done {
        /// Whether rows were left.
        left: bool,
    },
}

#[derive(Debug)]
enum Step {
    /// Waits for content, or for the unread count.
    Reading,
    /// Asked for room.
    Room,
    /// Has room, asked for the device.
    Device(Permit),
    /// Sent.
    Answer,
    /// Rests until this time.
    Resting(Monotonic),
    /// Settled, scheduled or left.
    Over,
}

#[derive(Debug)]
struct Flight {
    push: Outgoing,
    step: Step,
}

#[derive(Debug)]
enum Known {
    Asked,
    Shows(MailContent),
    Gone(&'static str),
    Unreadable,
}

/// The unread count of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Wanted,
    Asked,
    /// What was said; none when it could not be read.
    Known(Option<u32>),
}

/// The pushes of one delivery.
#[derive(Debug)]
pub struct Sending {
    mailbox: MailboxId,
    authority: Authority,
    flights: Vec<Flight>,
    contents: BTreeMap<EventKey, Known>,
    content_failures: u32,
    content_retry: Option<Monotonic>,
    unread: Unread,
    budget: Arc<HoldBudget>,
    held: Option<Held>,
    hold_until: Monotonic,
    give_up: Monotonic,
    marks: Vec<Mark>,
    retries: Vec<Retry>,
    /// What is being written; kept until it is, so that a store that fails does not lose it.
    writing: Option<(Vec<Mark>, Vec<Retry>)>,
    write_failures: u32,
    write_at: Monotonic,
    /// Devices that are being forgotten.
    forgetting: u32,
    left: bool,
    over: bool,
    chance: Chance,
}

impl Sending {
    /// Takes the pushes in hand.
    #[must_use]
    pub fn new(
        (mailbox, authority): (MailboxId, Authority),
        mut pushes: Vec<Outgoing>,
        order: Order,
        at: Monotonic,
        budget: Arc<HoldBudget>,
        settings: &Settings,
    ) -> Self {
        let left = pushes.len() > PUSHES_PER_DELIVERY;
        pushes.truncate(PUSHES_PER_DELIVERY);
        let seed = mailbox.0.unsigned_abs() ^ at.0.unsigned_abs();
        Self {
            mailbox,
            authority,
            flights: pushes.into_iter().map(|push| Flight { push, step: Step::Reading }).collect(),
            contents: BTreeMap::new(),
            content_failures: 0,
            content_retry: None,
            unread: order.unread.map_or(Unread::Wanted, |count| Unread::Known(Some(count))),
            budget,
            held: None,
            hold_until: if order.hold { at + settings.hold_content } else { at },
            give_up: at + settings.hold_content + GRACE,
            marks: Vec::new(),
            retries: Vec::new(),
            writing: None,
            write_failures: 0,
            write_at: Monotonic(0),
            forgetting: 0,
            left,
            over: false,
            chance: Chance::new(seed),
        }
    }

    /// The first things to do.
    pub fn begin(&mut self, moment: Moment, settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.advance(moment, settings, &mut effects);
        effects
    }

    /// When the sending part acts by itself next.
    #[must_use]
    pub fn due(&self) -> Monotonic {
        let resting = self.flights.iter().filter_map(|flight| match flight.step {
            Step::Resting(until) => Some(until),
            _ => None,
        });
        let writing = (self.writing.is_none() && !(self.marks.is_empty() && self.retries.is_empty())).then_some(self.write_at);
        resting.chain(writing).chain(self.content_retry).chain([self.give_up]).min().unwrap_or(self.give_up)
    }

    /// Takes one input and says what is to be done.
    pub fn step(&mut self, moment: Moment, input: Sent, settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.over {
            return effects;
        }
        match input {
            Sent::Contents(asked, answer) => self.contents(moment, &asked, answer, settings),
            Sent::Unread(answer) => self.unread = Unread::Known(answer.ok()),
            Sent::Room(place, Ok(permit)) => self.room(place, permit, &mut effects),
            Sent::Room(place, Err(verdict)) => self.answered(moment, place, verdict, settings, &mut effects),
            Sent::Device(place, answer) => self.device(moment, place, answer, settings, &mut effects),
            Sent::Answer(place, verdict) => self.answered(moment, place, verdict, settings, &mut effects),
            Sent::Forgotten => self.forgetting = self.forgetting.saturating_sub(1),
            Sent::Written(answer) => self.written(moment, answer.is_ok(), settings),
            Sent::Alarm => self.alarm(moment),
        }
        self.advance(moment, settings, &mut effects);
        effects
    }

    fn contents(&mut self, moment: Moment, asked: &[EventKey], answer: Result<Vec<Option<MailContent>>, SourceError>, settings: &Settings) {
        match answer {
            Ok(shown) => {
                for (event, mail) in asked.iter().zip(shown) {
                    let known = match mail {
                        None => Known::Gone("gone"),
                        Some(mail) if mail.read => Known::Gone("read"),
                        Some(mail) => Known::Shows(mail),
                    };
                    self.contents.insert(*event, known);
                }
            }
            Err(error) => {
                self.content_failures += 1;
                let long = matches!(&error, SourceError::Throttled { retry_after } if *retry_after > settings.retry_base * 4);
                if long || self.content_failures >= CONTENT_TRIES {
                    asked.iter().for_each(|event| drop(self.contents.insert(*event, Known::Unreadable)));
                } else {
                    asked.iter().for_each(|event| drop(self.contents.remove(event)));
                    self.content_retry = Some(moment.at + settings.retry_base + self.chance.below(settings.retry_base));
                }
            }
        }
    }

    fn room(&mut self, place: usize, permit: Permit, effects: &mut Vec<Effect>) {
        if let Some(flight) = self.flights.get_mut(place)
            && matches!(flight.step, Step::Room)
        {
            flight.step = Step::Device(permit);
            effects.push(Effect::Device(place, flight.push.device));
        }
    }

    /// The device was read: decide, and send in the same step.
    fn device(
        &mut self,
        moment: Moment,
        place: usize,
        answer: Result<Option<DeviceNow>, StoreError>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.flights.get_mut(place) else { return };
        let Step::Device(permit) = std::mem::replace(&mut flight.step, Step::Reading) else { return };
        let device = match answer {
            Ok(Some(device)) if device.generation == flight.push.generation => device,
            Ok(_) => return self.settle(place, Settled::Superseded, "device_changed"),
            Err(_) => return self.rest(moment, place, None, true, &code("store"), settings),
        };
        if !moment.gate_open {
            return self.leave(place);
        }
        if moment.now >= flight.push.expires_at {
            return self.settle(place, Settled::Dead, "expired");
        }
        let push = self.compose(place, moment.now, &device);
        self.flights[place].step = Step::Answer;
        let received_at = self.flights[place].push.rows.first().filter(|row| row.item.is_some()).map(|row| row.received_at);
        effects.push(Effect::Send { place, permit, push, received_at });
    }

    fn compose(&self, place: usize, now: Timestamp, device: &DeviceNow) -> Push {
        let push = &self.flights[place].push;
        let newest = push.rows.first().and_then(|row| match self.contents.get(&row.event) {
            Some(Known::Shows(mail)) => Some(mail),
            _ => None,
        });
        let (content, expires_at) = match push.kind {
            DeliveryKind::Badge => (Content::BadgeOnly, push.expires_at),
            DeliveryKind::Mail => policy::mail(now, device, newest, push.expires_at),
        };
        let hashes = if push.kind == DeliveryKind::Mail {
            push.rows.iter().take(HASHES_PER_PUSH).map(|row| row.event).collect()
        } else {
            Vec::new()
        };
        Push {
            channel: device.channel.clone(),
            token: device.token.clone(),
            id: push_id(self.mailbox, push.device, push.group),
            event: push.group,
            content,
            badge: if let Unread::Known(count) = self.unread { count } else { None },
            count: push.rows.iter().map(|row| row.count).sum(),
            hashes,
            expires_at,
        }
    }

    fn answered(&mut self, moment: Moment, place: usize, verdict: Verdict, settings: &Settings, effects: &mut Vec<Effect>) {
        let Some(flight) = self.flights.get(place) else { return };
        if !matches!(flight.step, Step::Answer | Step::Room) {
            return;
        }
        match verdict {
            Verdict::Accepted => self.settle(place, Settled::Sent, "accepted"),
            Verdict::Refused { reason } => self.settle(place, Settled::Dead, &reason),
            Verdict::DeviceGone { since, reason } => {
                self.forgetting += 1;
                effects.push(Effect::Forget(flight.push.device, flight.push.generation, since));
                self.settle(place, Settled::Dead, &reason);
            }
            Verdict::Later { after, reason } => self.rest(moment, place, after, true, &reason, settings),
            Verdict::Unknown { reason } => self.rest(moment, place, None, false, &reason, settings),
            Verdict::Credentials { reason } => self.rest(moment, place, Some(settings.breaker_pause), true, &reason, settings),
        }
    }

    /// A try that was answered, or lost: again soon while content may be held, else later from the rows.
    fn rest(&mut self, moment: Moment, place: usize, after: Option<Duration>, refused: bool, reason: &Arc<str>, settings: &Settings) {
        let held = self.hold(moment);
        let push = &mut self.flights[place].push;
        push.attempts = push.attempts.saturating_add(1);
        push.refused &= refused;
        let delay =
            backoff(push.attempts, settings.push_retry_base, settings.push_retry_max, &mut self.chance).max(after.unwrap_or_default());
        if held && moment.at + delay <= self.hold_until {
            self.flights[place].step = Step::Resting(moment.at + delay);
            return;
        }
        let (mailbox, authority, refused, next_at) = (self.mailbox, self.authority, push.refused, moment.now + delay);
        let rows = push.rows.iter();
        self.retries.extend(rows.map(|row| Retry { id: row.id, mailbox, authority, next_at, refused, reason: reason.clone() }));
        self.flights[place].step = Step::Over;
    }

    /// Whether content may stay in memory for another try.
    fn hold(&mut self, moment: Moment) -> bool {
        if self.held.is_none() && moment.at < self.hold_until {
            let content: usize = self.contents.values().map(|known| if let Known::Shows(mail) = known { mail.bytes() } else { 0 }).sum();
            self.held = HoldBudget::take(&self.budget, content + ACTOR_BYTES);
        }
        self.held.is_some()
    }

    fn settle(&mut self, place: usize, settled: Settled, reason: &str) {
        let reason = code(reason);
        let flight = &mut self.flights[place];
        self.marks.extend(flight.push.rows.drain(..).map(|row| Mark { id: row.id, settled, reason: reason.clone() }));
        flight.step = Step::Over;
    }

    fn leave(&mut self, place: usize) {
        self.left = true;
        self.flights[place].step = Step::Over;
    }

    fn written(&mut self, moment: Moment, ok: bool, settings: &Settings) {
        let Some((mut marks, mut retries)) = self.writing.take() else { return };
        if ok {
            self.write_failures = 0;
            return;
        }
        self.write_failures += 1;
        self.write_at = moment.at + backoff(self.write_failures, settings.retry_base, settings.retry_max, &mut self.chance);
        self.marks.append(&mut marks);
        self.retries.append(&mut retries);
    }

    fn alarm(&mut self, moment: Moment) {
        if moment.at >= self.give_up {
            self.left = true;
            self.over = true;
        }
        if self.content_retry.is_some_and(|at| moment.at >= at) {
            self.content_retry = None;
        }
        for flight in &mut self.flights {
            if matches!(flight.step, Step::Resting(until) if moment.at >= until) {
                flight.step = Step::Reading;
            }
        }
    }

    fn advance(&mut self, moment: Moment, settings: &Settings, effects: &mut Vec<Effect>) {
        let mut wanted: BTreeMap<EventKey, ItemId> = BTreeMap::new();
        for place in 0..self.flights.len() {
            if matches!(self.flights[place].step, Step::Reading) && !self.over {
                self.read(moment, place, &mut wanted, settings, effects);
            }
        }
        if self.unread == Unread::Wanted && self.flights.iter().any(|flight| matches!(flight.step, Step::Reading)) {
            self.unread = Unread::Asked;
            effects.push(Effect::Unread);
        }
        if !wanted.is_empty() && self.content_retry.is_none() {
            wanted.keys().for_each(|event| drop(self.contents.insert(*event, Known::Asked)));
            effects.push(Effect::Contents(wanted.into_iter().collect()));
        }
        if self.writing.is_none() && moment.at >= self.write_at && !(self.marks.is_empty() && self.retries.is_empty()) {
            let work = (std::mem::take(&mut self.marks), std::mem::take(&mut self.retries));
            self.writing = Some(work.clone());
            effects.push(Effect::Write(work.0, work.1));
        }
        let at_rest = self.flights.iter().all(|flight| matches!(flight.step, Step::Over));
        let written = self.forgetting == 0 && self.writing.is_none() && self.marks.is_empty() && self.retries.is_empty();
        if self.over || at_rest && written {
            self.over = true;
            effects.push(Effect::Done { left: self.left });
        }
    }

    /// What a push needs before it asks for room: its newest mail's content, and the badge.
    fn read(
        &mut self,
        moment: Moment,
        place: usize,
        wanted: &mut BTreeMap<EventKey, ItemId>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.flights[place].push.channel.clone() else {
            return self.settle(place, Settled::Superseded, "device_gone");
        };
        loop {
            let Some(newest) = self.flights[place].push.rows.first() else {
                self.flights[place].step = Step::Over;
                return;
            };
            let Some(item) = &newest.item else { break };
            match self.contents.get(&newest.event) {
                Some(Known::Shows(_) | Known::Unreadable) => break,
                Some(Known::Asked) => return,
                None => {
                    // At most ten items a call; the others are asked for when these are known.
                    if wanted.len() < 10 {
                        wanted.insert(newest.event, item.clone());
                    }
                    return;
                }
                Some(Known::Gone(why)) => {
                    let mark = Mark { id: newest.id, settled: Settled::Superseded, reason: code(why) };
                    self.marks.push(mark);
                    self.flights[place].push.rows.remove(0);
                }
            }
        }
        if matches!(self.unread, Unread::Asked | Unread::Wanted) {
            return;
        }
        if self.flights[place].push.kind == DeliveryKind::Badge && self.unread == Unread::Known(None) {
            self.unread = Unread::Wanted;
            return self.rest(moment, place, None, true, &code("unread_unknown"), settings);
        }
        self.flights[place].step = Step::Room;
        effects.push(Effect::Room(place, channel));
    }
}
