//! The sending part of a delivery: rows in hand become pushes, and what providers say becomes marks and retries.

mod again;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Authority, DeviceId, EventKey, Generation, ItemId, MailboxId};
use crate::ports::StoreError;
use crate::ports::delivery_store::{Mark, Retry, Settled};
use crate::ports::device_store::DeviceNow;
use crate::ports::mail_source::MailContent;
use crate::ports::mailbox_store::DeliveryKind;
use crate::ports::push_sender::{Channel, Content, Permit, Provider, Push, Verdict};
use crate::settings::{HASHES_PER_PUSH, Settings};
use crate::time::{Monotonic, Timestamp};

use super::batch::{Held, HoldBudget};
use super::fanout::push_id;
use super::message::{Moment, Order, Sent, code};
use super::outgoing::Outgoing;
use super::policy;
use super::retry::Chance;

/// How many pushes one delivery has in hand; what is more stays PENDING for the next.
pub const PUSHES_PER_DELIVERY: usize = 32;
/// How often content is asked for before a push goes without details.
const CONTENT_TRIES: u32 = 2;
/// How long a delivery beside one that may hold for long holds content: one bad answer does not make a row of a push that would be taken a second later.
const BRIEFLY: Duration = Duration::from_secs(5);
/// What a delivery that rests costs besides its content: its actor.
const ACTOR_BYTES: usize = 16 << 10;
/// What a call to an edge may take beyond its own deadline before its answer is given up.
const GRACE: Duration = Duration::from_secs(120);

/// How long the sending part of a delivery lives at most.
#[must_use]
pub fn longest(settings: &Settings) -> Duration {
    settings.hold_content + GRACE
}

/// What the sending part wants done.
#[derive(Debug)]
pub enum Effect {
    /// Read what these mails show.
    Contents(Vec<(EventKey, ItemId)>),
    /// Read the unread count.
    Unread,
    /// Ask whether what was tried before may be read again.
    Turn(usize, Channel, DeviceId),
    /// Note in the rows that a try begins, and under which push: it may be taken, whatever is heard of it.
    Begin(usize, Vec<Retry>),
    /// Wait for room.
    Room(usize, Channel, DeviceId),
    /// Read the device as it is now.
    Device(usize, DeviceId),
    /// Send; the gate was open in this step and is read once more before the first byte.
    Send {
        /// Which of the pushes.
        place: usize,
        /// To which device.
        device: DeviceId,
        /// Its room.
        permit: Permit,
        /// What is sent.
        push: Push,
        /// When the newest mail of it was received; none for a badge.
        received_at: Option<Timestamp>,
    },
    /// Forget a device that is definitely gone, at its provider.
    Forget(DeviceId, Generation, Option<Timestamp>, Option<Provider>),
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
    /// Tried before: its turn is to be asked for before anything is read.
    Waiting,
    /// Asked for its turn.
    Turn,
    /// Its turn has come; that the try begins is being noted.
    Beginning,
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

impl Flight {
    fn new(push: Outgoing) -> Self {
        let step = if push.attempts == 0 { Step::Reading } else { Step::Waiting };
        Self { push, step }
    }
}

#[derive(Debug)]
enum Known {
    Asked,
    Shows(MailContent),
    Gone(&'static str),
    Unreadable,
}

/// What is known of the mails of the pushes in hand: as a rule one, never many.
#[derive(Debug, Default)]
struct Contents(Vec<(EventKey, Known)>);

impl Contents {
    fn of(&self, event: EventKey) -> Option<&Known> {
        self.0.iter().find(|(of, _)| *of == event).map(|(_, known)| known)
    }

    fn set(&mut self, event: EventKey, known: Known) {
        match self.0.iter_mut().find(|(of, _)| *of == event) {
            Some((_, before)) => *before = known,
            None => self.0.push((event, known)),
        }
    }

    fn forget(&mut self, events: &[EventKey]) {
        self.0.retain(|(event, _)| !events.contains(event));
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(_, known)| if let Known::Shows(mail) = known { mail.bytes() } else { 0 }).sum()
    }
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
    contents: Contents,
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
    /// The mailbox is handed over: nothing begins any more.
    hands_over: bool,
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
            flights: pushes.into_iter().map(Flight::new).collect(),
            contents: Contents::default(),
            content_failures: 0,
            content_retry: None,
            unread: order.unread.map_or(Unread::Wanted, |count| Unread::Known(Some(count))),
            budget,
            held: None,
            hold_until: at + if order.hold { settings.hold_content } else { settings.hold_content.min(BRIEFLY) },
            give_up: at + longest(settings),
            marks: Vec::new(),
            retries: Vec::new(),
            writing: None,
            write_failures: 0,
            write_at: Monotonic(0),
            forgetting: 0,
            left,
            hands_over: false,
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
            Sent::Turn(place, answer) => self.turn(moment, place, answer, settings, &mut effects),
            Sent::Begun(place, answer) => self.begun(place, answer.is_ok()),
            Sent::Room(place, Ok(permit)) => self.room(place, permit, &mut effects),
            Sent::Room(place, Err(verdict)) => self.answered(moment, place, verdict, settings, &mut effects),
            Sent::Device(place, answer) => self.device(moment, place, answer, settings, &mut effects),
            Sent::Answer(place, verdict) => self.answered(moment, place, verdict, settings, &mut effects),
            Sent::Forgotten => self.forgetting = self.forgetting.saturating_sub(1),
            Sent::Written(answer) => self.written(moment, answer.is_ok(), settings),
            Sent::Settle { hand_over } => self.settle_down(moment, hand_over),
            Sent::Alarm => self.alarm(moment),
        }
        self.advance(moment, settings, &mut effects);
        effects
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
        let Some(flight) = self.flights.get_mut(place).filter(|flight| matches!(flight.step, Step::Device(_))) else { return };
        let Step::Device(permit) = std::mem::replace(&mut flight.step, Step::Reading) else { return };
        let device = match answer {
            Ok(Some(device)) => device,
            Ok(None) => return self.settle(place, Settled::Superseded, "device_gone"),
            Err(_) => return self.rest(moment, place, None, true, &code("store"), settings),
        };
        // Registered anew meanwhile: what was meant for its user goes where he is now.
        flight.push.generation = device.generation;
        if flight.push.channel.as_ref() != Some(&device.channel) {
            flight.push.channel = Some(device.channel);
            return;
        }
        if !moment.gate_open {
            return self.leave(place);
        }
        if moment.now >= flight.push.expires_at {
            return self.settle(place, Settled::Dead, "expired");
        }
        let push = self.compose(place, moment.now, &device);
        self.flights[place].step = Step::Answer;
        let received_at = self.flights[place].push.rows.first().filter(|row| row.item.is_some()).map(|row| row.received_at);
        effects.push(Effect::Send { place, device: device.device, permit, push, received_at });
    }

    fn compose(&self, place: usize, now: Timestamp, device: &DeviceNow) -> Push {
        let push = &self.flights[place].push;
        let newest = push.rows.first().and_then(|row| match self.contents.of(row.event) {
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
            Verdict::Refused { reason } | Verdict::Undeliverable { reason } => self.settle(place, Settled::Dead, &reason),
            Verdict::DeviceGone { since, reason, .. } => {
                self.forgetting += 1;
                let provider = flight.push.channel.as_ref().map(|channel| channel.provider);
                effects.push(Effect::Forget(flight.push.device, flight.push.generation, since, provider));
                self.settle(place, Settled::Dead, &reason);
            }
            Verdict::Later { after, reason } => self.rest(moment, place, after, true, &reason, settings),
            Verdict::Unknown { reason } => self.rest(moment, place, None, false, &reason, settings),
            Verdict::Credentials { reason } => self.rest(moment, place, Some(settings.breaker_pause), true, &reason, settings),
        }
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

    fn advance(&mut self, moment: Moment, settings: &Settings, effects: &mut Vec<Effect>) {
        let mut wanted: Vec<(EventKey, ItemId)> = Vec::new();
        for place in 0..self.flights.len() {
            if matches!(self.flights[place].step, Step::Waiting) {
                self.ask_turn(place, effects);
            }
            if matches!(self.flights[place].step, Step::Reading) && !self.over {
                self.read(moment, place, &mut wanted, settings, effects);
            }
        }
        if self.unread == Unread::Wanted && self.flights.iter().any(|flight| matches!(flight.step, Step::Reading)) {
            self.unread = Unread::Asked;
            effects.push(Effect::Unread);
        }
        if !wanted.is_empty() && self.content_retry.is_none() {
            wanted.iter().for_each(|(event, _)| self.contents.set(*event, Known::Asked));
            effects.push(Effect::Contents(wanted));
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
}
