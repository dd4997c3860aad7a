//! What all actors of a node share: the ports, the settings, the gate, the batches, the budgets.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::delivery::batch::HoldBudget;
use crate::delivery::breaker::{Breaker, Judgement};
use crate::delivery::commit::Committer;
use crate::delivery::message::Moment;
use crate::gate::Gate;
use crate::places::Places;
use crate::ports::Ports;
use crate::ports::push_sender::{Channel, Provider, PushToken, Verdict};
use crate::settings::Settings;
use crate::snapshot::Phase;
use crate::telemetry::metrics;
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
    breakers: Mutex<BTreeMap<Channel, Breaker>>,
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
            breakers: Mutex::default(),
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

    /// How long a channel rests, if it does.
    #[must_use]
    pub fn rests(&self, channel: &Channel, now: Monotonic) -> Option<Duration> {
        self.breakers().get(channel).and_then(|breaker| breaker.rests(now))
    }

    /// Whether a push over the channel that was tried before may be read and made again.
    ///
    /// # Errors
    /// How long it has to wait for its turn.
    pub fn turn(&self, channel: &Channel, now: Monotonic) -> Result<(), Duration> {
        self.breakers().get_mut(channel).map_or(Ok(()), |breaker| breaker.turn(now, &self.settings))
    }

    /// Passes a verdict by the channel's breaker; "gone" that is not believed becomes "later".
    #[must_use]
    pub fn judge(&self, channel: &Channel, token: &PushToken, now: Monotonic, verdict: Verdict) -> Verdict {
        let (judgement, alarmed) = {
            let mut breakers = self.breakers();
            // The channel is cloned only for its first verdict.
            if !breakers.contains_key(channel) {
                breakers.insert(channel.clone(), Breaker::default());
            }
            let breaker = breakers.get_mut(channel).expect("it was put there");
            let before = breaker.alarmed();
            let judgement = breaker.note(now, token, &verdict, &self.settings);
            (judgement, (before != breaker.alarmed()).then(|| breaker.alarmed()))
        };
        if let Some(alarmed) = alarmed {
            self.tell_alarm(channel.provider, alarmed, &verdict);
            let (tenant, provider, app) = (&channel.tenant, channel.provider.as_str(), &channel.app);
            if alarmed {
                tracing::error!(%tenant, provider, %app, "the push channel rests: its topic, environment, project or credentials seem wrong; no device is forgotten");
            } else {
                tracing::info!(%tenant, provider, %app, "the push channel works again");
            }
        }
        match (judgement, verdict) {
            (Judgement::Doubted(after), Verdict::DeviceGone { reason, .. }) => Verdict::Later { after: Some(after), reason },
            (_, verdict) => verdict,
        }
    }

    fn tell_alarm(&self, provider: Provider, alarmed: bool, verdict: &Verdict) {
        let open = self.breakers().iter().filter(|(channel, breaker)| channel.provider == provider && breaker.alarmed()).count();
        metrics::breaker_open(provider, f64::from(u32::try_from(open).unwrap_or(u32::MAX)));
        if alarmed {
            let why = if matches!(verdict, Verdict::Credentials { .. }) {
                metrics::Breaker::Credentials
            } else {
                metrics::Breaker::Configuration
            };
            metrics::breaker_opened(provider, why, 1);
        }
    }

    fn breakers(&self) -> std::sync::MutexGuard<'_, BTreeMap<Channel, Breaker>> {
        // A breaker is whole after any of its operations.
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
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
