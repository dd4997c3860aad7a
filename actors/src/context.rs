//! What all actors of a node share: the ports, the settings, the gate, the batches, the budgets.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, Semaphore};

use crate::delivery::batch::HoldBudget;
use crate::delivery::breaker::{Trouble, Waits, Whose};
use crate::delivery::channels::{Channels, Told};
use crate::delivery::commit::Committer;
use crate::delivery::message::Moment;
use crate::gate::Gate;
use crate::ids::DeviceId;
use crate::places::Places;
use crate::ports::Ports;
use crate::ports::push_sender::{Channel, PushToken, Verdict};
use crate::settings::Settings;
use crate::snapshot::Phase;
use crate::telemetry::metrics;
use crate::telemetry::repeats::{Due, Repeats};
use crate::time::Monotonic;
use crate::turns::Turns;

/// How many shards are looked at in the store at a time.
const LOOKS: usize = 8;

/// Shared by all actors of one node.
pub struct Context {
    /// The outside.
    pub ports: Ports,
    /// The settings.
    pub settings: Settings,
    /// Read before every effect.
    pub gate: Arc<Gate>,
    /// The batches.
    pub committer: Committer,
    /// Content that may be held.
    pub budget: Arc<HoldBudget>,
    /// Room for collections.
    pub collections: Arc<Places>,
    /// Room for seeding.
    pub seedings: Arc<Semaphore>,
    /// Whose turn it is to begin to be watched.
    pub turns: Turns,
    /// Room for looks at shards: a node that owns thousands does not take all connections from the mail.
    pub looks: Arc<Semaphore>,
    /// Mailboxes by phase.
    pub phases: Phases,
    /// Deliveries under way.
    pub busy: Busy,
    /// What fails again and again, by what it is about: told once, then counted.
    told: Repeats<&'static str>,
    channels: Mutex<Channels>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Context {
    /// Puts together what a node shares.
    #[must_use]
    pub fn new(ports: Ports, settings: Settings) -> Arc<Self> {
        let gate = Gate::new(ports.clock.clone());
        let committer = Committer::start(&ports, gate.clone(), &settings);
        Arc::new(Self {
            budget: HoldBudget::new(settings.hold_bytes),
            collections: Places::new(settings.collections),
            seedings: Arc::new(Semaphore::new(settings.seedings)),
            turns: Turns::new(settings.adopt_rate, settings.adopt_rate_back_end),
            looks: Arc::new(Semaphore::new(LOOKS)),
            phases: Phases::default(),
            busy: Busy::default(),
            told: Repeats::default(),
            channels: Mutex::default(),
            ports,
            settings,
            gate,
            committer,
        })
    }

    /// Reads both clocks and the gate, once for a step.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let at = self.ports.clock.monotonic();
        Moment { at, now: self.ports.clock.now(), gate_open: self.gate.lets_pushes_out_at(at) }
    }

    /// Whether a push over the channel may be sent at this moment.
    ///
    /// # Errors
    /// How long it has to wait, and for what.
    pub fn room(&self, channel: &Channel, whose: Whose) -> Result<(), Waits> {
        let now = self.ports.clock.monotonic();
        self.channels().room(channel, whose, now, &self.settings)
    }

    /// Whether a push over the channel that was tried before may be read and made again.
    ///
    /// # Errors
    /// How long it has to wait for its turn, and for what.
    pub fn turn(&self, channel: &Channel, whose: Whose) -> Result<(), Waits> {
        let now = self.ports.clock.monotonic();
        self.channels().turn(channel, whose, now, &self.settings)
    }

    /// Why a channel is in trouble, in its provider's words.
    #[must_use]
    pub fn trouble_of(&self, channel: &Channel) -> Option<Arc<str>> {
        self.channels().reason(channel)
    }

    /// It failed: says whether a line about it is due.
    pub fn failed(&self, what: &'static str) -> Option<Due> {
        self.told.happened(what, self.ports.clock.monotonic())
    }

    /// It works: leaves a line if a failure had been told.
    pub fn works(&self, what: &'static str) {
        if let Some(over) = self.told.ended(&what, self.ports.clock.monotonic()) {
            tracing::info!(what, after_s = over.lasted.as_secs(), times = over.times, "what failed works again");
        }
    }

    /// A push to the device begins.
    pub fn push_begins(&self, channel: &Channel, device: DeviceId) {
        let now = self.ports.clock.monotonic();
        self.channels().begins(channel, device, now);
    }

    /// It ended, answered or not.
    pub fn push_ended(&self, channel: &Channel, device: DeviceId) {
        self.channels().ended(channel, device);
    }

    /// Passes a verdict by the channel's breaker; "gone" and "refused" that are not believed become "later".
    #[must_use]
    pub fn judge(&self, channel: &Channel, push: (Whose, &PushToken), now: Monotonic, verdict: Verdict) -> Verdict {
        let (verdict, told) = self.channels().judge(channel, push, now, verdict, &self.settings);
        if let Some(told) = told {
            self.tell(channel, &told);
        }
        verdict
    }

    fn tell(&self, channel: &Channel, told: &Told) {
        let (tenant, provider, app) = (&channel.tenant, channel.provider.as_str(), &channel.app);
        match told {
            Told::Begins(trouble, reason) if trouble.alarms() => {
                tracing::error!(%tenant, provider, %app, %reason, "pushes of this app are kept and tried again later: {}", advice(*trouble));
            }
            Told::Begins(trouble, reason) => {
                tracing::warn!(%tenant, provider, %app, %reason, "pushes of this app are late: {}", advice(*trouble));
            }
            Told::Ends(_, after) => {
                tracing::info!(%tenant, provider, %app, after_s = after.as_secs(), "pushes of this app are taken again");
            }
            Told::Undeliverable(count, reason) => {
                tracing::warn!(%tenant, provider, %app, %reason, count, "the provider cannot push to some devices of this app; the others are not concerned");
            }
        }
        if let Told::Begins(trouble, _) = told {
            metrics::breaker_opened(channel.provider, metrics::Breaker::of(*trouble), 1);
        }
        let (alarms, all) = self.channels().troubled(channel.provider);
        metrics::breaker_open(channel.provider, f64::from(alarms));
        metrics::push_channels_late(channel.provider, f64::from(all));
    }

    fn channels(&self) -> std::sync::MutexGuard<'_, Channels> {
        // They are whole after any of their operations.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a person is told of a channel in trouble.
fn advice(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Configuration => {
            "devices of many mailboxes seem gone at once; check topic, environment and project. No device is forgotten"
        }
        Trouble::Credentials => "the provider refuses the credentials; check the key, its ids and this machine's clock",
        Trouble::Refused => "the provider refuses pushes to devices of several mailboxes; the reason says what it does not take",
        Trouble::Asked => "the provider asked to wait",
        Trouble::Away => "the provider takes nothing, or does not answer",
    }
}

/// How many deliveries are under way.
#[derive(Debug, Clone, Default)]
pub struct Busy(Arc<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    count: AtomicUsize,
    /// The last one ended.
    none: Notify,
}

/// One delivery under way, for as long as this lives.
#[derive(Debug)]
pub struct AtWork(Busy);

impl Busy {
    /// One more.
    #[must_use]
    pub fn enter(&self) -> AtWork {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        AtWork(self.clone())
    }

    /// Waits until none is under way.
    pub async fn none(&self) {
        loop {
            let mut none = pin!(self.0.none.notified());
            none.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }

    /// How many are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if self.0.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.none.notify_waiters();
        }
    }
}

/// How many mailboxes are in which phase.
#[derive(Debug, Default)]
pub struct Phases {
    counts: [AtomicU32; 6],
}

impl Phases {
    /// The counts, in the order of [`Phase::ALL`].
    #[must_use]
    pub fn counts(&self) -> [u32; 6] {
        std::array::from_fn(|place| self.counts[place].load(Ordering::Relaxed))
    }

    /// All mailboxes.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.counts().iter().sum()
    }

    fn place(phase: Phase) -> usize {
        Phase::ALL.iter().position(|other| *other == phase).unwrap_or(0)
    }
}

/// One mailbox's place among the counts; leaves with its actor, however that ends.
#[derive(Debug)]
pub struct Counted {
    context: Arc<Context>,
    phase: Phase,
}

impl Counted {
    /// Counts a mailbox in.
    #[must_use]
    pub fn new(context: Arc<Context>, phase: Phase) -> Self {
        context.phases.counts[Phases::place(phase)].fetch_add(1, Ordering::Relaxed);
        Self { context, phase }
    }

    /// Counts it in another phase.
    pub fn moved(&mut self, phase: Phase) {
        if phase != self.phase {
            self.context.phases.counts[Phases::place(self.phase)].fetch_sub(1, Ordering::Relaxed);
            self.context.phases.counts[Phases::place(phase)].fetch_add(1, Ordering::Relaxed);
            self.phase = phase;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.context.phases.counts[Phases::place(self.phase)].fetch_sub(1, Ordering::Relaxed);
    }
}
