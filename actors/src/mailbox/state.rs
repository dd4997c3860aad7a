//! The state machine of a watched mailbox: marks what changed, decides when to subscribe and when to collect.

mod collecting;
mod moving;
mod pace;
mod subscription;

use self::pace::Pace;
use crate::delivery::message::{CollectEnd, Failure, Order, Work};
use crate::delivery::retry::{Chance, backoff};
use crate::ports::mail_source::{Hint, SourceError};
use crate::settings::Settings;
use crate::snapshot::Phase;
use crate::time::Monotonic;

/// How many deliveries of one mailbox may still be sending while the next collection begins.
const MOST_SENDING: u8 = 4;

/// What a mailbox is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Its actor starts; what its row says.
    Start {
        /// Whether the sync state was drained once.
        seeded: bool,
        /// Whether a badge change waits to be told.
        badge_dirty: bool,
        /// Whether it has PENDING rows.
        pending: bool,
    },
    /// The mail source heard something.
    Hint(Hint),
    /// The answer to [`Effect::Watch`].
    Watched(Result<(), SourceError>),
    /// The collecting part of a delivery ended. With `sending` its pushes are still under way and `Settled` follows.
    Collected {
        /// How it ended.
        end: CollectEnd,
        /// Whether `Settled` follows.
        sending: bool,
    },
    /// The sending part of a delivery ended; with `left`, rows stay PENDING that nobody holds.
    Settled {
        /// Whether rows were left behind.
        left: bool,
    },
    /// The sweep found PENDING rows that are due.
    Resume,
    /// The room for seeding that was asked for is there.
    Room,
    /// Effects may begin again after the gate was closed, or sending was paused.
    Reopened,
    /// No collections begin any more; what is under way goes on, but does not rest for another try.
    Drain,
    /// The shard is to be handed over: come to rest.
    Hold,
    /// What is under way is not waited for any longer.
    GiveUp,
    /// The shard stays ours.
    Unhold,
    /// The mailbox is ours under another epoch (or still is): what its row says.
    Restamped {
        /// Whether the sync state was drained once.
        seeded: bool,
        /// Whether a badge change waits to be told.
        badge_dirty: bool,
    },
    /// The time of [`Mailbox::due`] came.
    Alarm,
}

/// What a mailbox wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Subscribe and join a stream.
    Watch,
    /// Leave the stream and end the subscription.
    Unwatch,
    /// Begin a delivery.
    Deliver(Order),
    /// End the delivery that collects: its answer is not waited for any more.
    GiveUp,
    /// Wait for room among the mailboxes that are seeded.
    AskRoom,
    /// That room is not needed any more.
    GiveRoom,
    /// All deliveries finish what is under way, and leave what rests as rows.
    Settle {
        /// The mailbox is handed over: they leave what is not at its provider yet as well.
        hand_over: bool,
    },
    /// End all deliveries.
    GiveUpAll,
    /// At rest, as was wanted.
    Held,
    /// The row is under another authority: ask whose the mailbox is, and rest until `Restamped`.
    Doubt,
}

/// Where the subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// There is none; ask for one at this time.
    Due(Monotonic),
    /// Asked; what the stream said before the answer came is kept: it spoke, or the subscription was lost.
    Asking { deadline: Monotonic, opened: bool, lost: bool },
    /// Subscribed; the stream has not spoken (again) yet.
    Silent,
    /// Events flow.
    Streaming,
    /// No room at the server; ask again at this time, poll meanwhile.
    Full(Monotonic),
    /// Refused for good; tried again at this time.
    Parked(Monotonic),
}

/// Room among the mailboxes that are seeded at a time. It is waited for beside other work: mail that comes meanwhile is announced meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    None,
    Asked,
    Given,
}

/// A collection under way, and the marks that it took with it: a failure puts them back.
#[derive(Debug, Clone, Copy)]
struct Running {
    work: Work,
    deadline: Monotonic,
    unread: Option<u32>,
    mail: Option<Monotonic>,
    badge: Option<Monotonic>,
    quiet_until: Monotonic,
}

/// A watched mailbox. A few hundred bytes; holds neither sync state nor content.
#[derive(Debug, Clone)]
pub struct Mailbox {
    seeded: bool,
    watch: Watch,
    watch_failures: u32,
    /// Since when events flow, if they do.
    streams_since: Monotonic,
    /// Whether a sync ran to its end since the stream opened.
    caught_up: bool,
    room: Room,
    /// The collection under way.
    collecting: Option<Running>,
    /// Deliveries that committed and still send.
    sending: u8,
    /// Mail may have come: since when.
    mail_mark: Option<Monotonic>,
    /// A sync is due whatever the window says.
    sync_mark: bool,
    /// The badge is to be told at this time if no mail comes first.
    badge_at: Option<Monotonic>,
    /// PENDING rows are to be taken up at this time.
    resume_at: Option<Monotonic>,
    resume_failures: u32,
    /// A commit is not known to have taken effect, and may yet: its rows are looked for again once that is settled.
    unsettled: bool,
    /// The newest unread count that a folder event carried.
    unread: Option<u32>,
    /// The count in the newest pushes, if a folder event had told it.
    told: Option<u32>,
    /// How fast it collects what hints and the server promise.
    pace: Pace,
    /// The window: no collection for mail before this.
    quiet_until: Monotonic,
    /// Back-off: no collection before this.
    retry_at: Monotonic,
    failures: u32,
    /// The back-off is for the store or the gate: it ends when they are back.
    waits_for_store: bool,
    /// Without any sync by then, one is made.
    sync_by: Monotonic,
    draining: bool,
    /// Nothing begins while the shard is being handed over, and whether it was said that all is at rest.
    hold: Option<bool>,
    /// Nothing begins until it is known whose the mailbox is.
    doubt: bool,
    chance: Chance,
}

impl Mailbox {
    /// A mailbox before its `Start`; `seed` makes its jitter differ from its neighbours'.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seeded: false,
            watch: Watch::Due(Monotonic(0)),
            watch_failures: 0,
            streams_since: Monotonic(0),
            caught_up: false,
            room: Room::None,
            collecting: None,
            sending: 0,
            mail_mark: None,
            sync_mark: false,
            badge_at: None,
            resume_at: None,
            resume_failures: 0,
            unsettled: false,
            unread: None,
            told: None,
            pace: Pace::default(),
            quiet_until: Monotonic(0),
            retry_at: Monotonic(0),
            failures: 0,
            waits_for_store: false,
            sync_by: Monotonic::NEVER,
            draining: false,
            hold: None,
            doubt: false,
            chance: Chance::new(seed),
        }
    }

    /// Where the mailbox stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.watch {
            Watch::Parked(_) => Phase::Parked,
            _ if !self.seeded => Phase::Seeding,
            Watch::Full(_) => Phase::Polling,
            Watch::Due(_) | Watch::Asking { .. } => Phase::Catchup,
            Watch::Streaming if self.caught_up => Phase::Live,
            Watch::Silent | Watch::Streaming => Phase::Subscribed,
        }
    }

    /// Whether nothing is under way: a mailbox that begins nothing may be stopped.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.collecting.is_none() && self.sending == 0
    }

    /// Whether the server keeps this mailbox from being synced to an end: mail that comes may be late.
    #[must_use]
    pub fn endless(&self) -> bool {
        self.pace.endless()
    }

    /// Takes one input and says what is to be done.
    pub fn step(&mut self, now: Monotonic, input: Input, settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Start { seeded, badge_dirty, pending } => self.start(now, seeded, badge_dirty, pending, settings),
            Input::Hint(hint) => self.hint(now, hint, settings),
            Input::Watched(answer) => self.watched(now, answer, settings, &mut effects),
            Input::Collected { end, sending } => self.collected(now, end, sending, settings, &mut effects),
            Input::Settled { left } => self.settled(now, left, settings),
            Input::Resume => {
                self.resume(now);
                // Rows wait for no delivery that only rests for another try: its device is not theirs.
                if self.sending > 0 && !self.rests() {
                    effects.push(Effect::Settle { hand_over: false });
                }
            }
            Input::Room => self.room = Room::Given,
            Input::Reopened => self.reopened(now, settings),
            Input::Drain => {
                self.draining = true;
                // What rests between two tries is left to the next owner: a provider that is away keeps nobody from stopping.
                effects.push(Effect::Settle { hand_over: false });
            }
            Input::Hold => {
                self.hold = Some(false);
                effects.push(Effect::Settle { hand_over: true });
            }
            Input::GiveUp => self.give_up(now, settings, &mut effects),
            Input::Unhold => self.unhold(now),
            Input::Restamped { seeded, badge_dirty } => self.restamped(now, seeded, badge_dirty, settings, &mut effects),
            Input::Alarm => self.overdue(now, settings, &mut effects),
        }
        self.advance(now, settings, &mut effects);
        effects
    }

    /// When the mailbox acts by itself next.
    #[must_use]
    pub fn due(&self, settings: &Settings) -> Monotonic {
        let watch = match self.watch {
            Watch::Due(at) | Watch::Full(at) | Watch::Parked(at) => at,
            Watch::Asking { deadline, .. } => deadline,
            Watch::Silent | Watch::Streaming => Monotonic::NEVER,
        };
        let watch = if self.rests() { Monotonic::NEVER } else { watch };
        watch.min(match self.collecting {
            Some(running) => running.deadline,
            None => {
                let ask_room = (!self.rests() && self.room == Room::None && self.to_seed()).then_some(self.retry_at.max(self.pace.more_at));
                self.work(settings).map(|(at, _)| at).chain(ask_room).min().unwrap_or(Monotonic::NEVER)
            }
        })
    }

    /// Whether nothing new begins.
    fn rests(&self) -> bool {
        self.draining || self.doubt || self.hold.is_some()
    }

    fn start(&mut self, now: Monotonic, seeded: bool, badge_dirty: bool, pending: bool, settings: &Settings) {
        self.seeded = seeded;
        self.sync_mark = seeded;
        self.watch = Watch::Due(now);
        self.badge_at = badge_dirty.then_some(now);
        self.resume_at = pending.then_some(now);
        // A former actor of it may have begun a commit.
        self.unsettled = pending;
        self.sync_by = now + self.chance.around(settings.reconcile);
    }

    fn settled(&mut self, now: Monotonic, left: bool, settings: &Settings) {
        self.sending = self.sending.saturating_sub(1);
        if left {
            self.resume_failures = self.resume_failures.saturating_add(1);
            let rest = backoff(self.resume_failures, settings.retry_base, settings.retry_max, &mut self.chance);
            self.resume_at = Some(self.resume_at.unwrap_or(Monotonic::NEVER).min(now + rest));
        } else {
            self.resume_failures = 0;
        }
    }

    /// Rows that wait are taken up as soon as nobody holds any.
    fn resume(&mut self, now: Monotonic) {
        self.resume_at = Some(self.resume_at.unwrap_or(Monotonic::NEVER).min(now));
    }

    /// What waits for the store or the gate need not wait any longer; neighbours do not come all at once.
    fn reopened(&mut self, now: Monotonic, settings: &Settings) {
        let soon = now + self.chance.below(settings.retry_base * 2);
        if std::mem::take(&mut self.waits_for_store) {
            self.failures = 0;
            self.retry_at = self.retry_at.min(soon);
        }
        self.resume_failures = 0;
        self.resume_at = self.resume_at.map(|at| at.min(soon));
    }

    /// An answer that never came counts as a failure.
    fn overdue(&mut self, now: Monotonic, settings: &Settings, effects: &mut Vec<Effect>) {
        if let Watch::Asking { deadline, .. } = self.watch
            && now >= deadline
        {
            self.watch = Watch::Due(now + self.watch_backoff(settings));
        }
        if let Some(running) = self.collecting
            && now >= running.deadline
        {
            self.collecting = None;
            effects.push(Effect::GiveUp);
            self.failed(now, running, Failure::Late, settings, effects);
        }
    }

    fn advance(&mut self, now: Monotonic, settings: &Settings, effects: &mut Vec<Effect>) {
        if self.hold == Some(false) && self.idle() {
            self.hold = Some(true);
            effects.push(Effect::Held);
        }
        if self.rests() {
            return;
        }
        match self.watch {
            Watch::Due(at) | Watch::Full(at) | Watch::Parked(at) if now >= at => {
                self.watch = Watch::Asking { deadline: now + settings.collect_deadline, opened: false, lost: false };
                effects.push(Effect::Watch);
            }
            _ => {}
        }
        if self.collecting.is_none() {
            // Of what is due: rows that wait before new work, so that a push and its repeat keep their order; a page of old mail last.
            let due = self.work(settings).filter(|(at, _)| now >= *at).map(|(_, work)| work);
            if let Some(work) = due.min_by_key(|work| [Work::Resend, Work::Sync, Work::Recent, Work::Seed].iter().position(|w| w == work)) {
                effects.push(Effect::Deliver(self.begin(now, work, settings)));
            }
        }
        match self.room {
            Room::None if self.can_seed(now) && !matches!(self.collecting, Some(Running { work: Work::Seed, .. })) => {
                self.room = Room::Asked;
                effects.push(Effect::AskRoom);
            }
            // One that must wait keeps no other from being seeded: its server may be away for hours.
            Room::Given if !self.can_seed(now) => {
                self.room = Room::None;
                effects.push(Effect::GiveRoom);
            }
            _ => {}
        }
    }
}
