//! What a node does by the clock: writing behind, the sweep for rows that nobody holds, retention, gauges.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::alarm::Alarm;
use crate::context::Context;
use crate::ids::Session;
use crate::mailbox::state::Input;
use crate::settings::Settings;
use crate::shard::directory::Directory;
use crate::snapshot::Phase;
use crate::task::Tasks;
use crate::telemetry::metrics;
use crate::time::Monotonic;

/// How many mailboxes one sweep wakes.
const SWEEP: u32 = 500;
/// How many rows one step of retention removes.
const RETAIN: u32 = 500;
/// How many mailboxes without devices one step removes, each with all its rows.
const RETAIN_MAILBOXES: u32 = 50;
/// How often the chores are looked at.
const TICK: Duration = Duration::from_millis(500);

/// The actor; all it is lives in its state.
#[derive(Debug)]
pub struct Chores;

/// What the chores actor begins with.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Shared by the node.
    pub context: Arc<Context>,
    /// Where mailboxes are found.
    pub directory: Arc<Directory>,
    /// Whose rows are swept.
    pub session: Session,
}

/// One chore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Write sync states that cover no push.
    WriteBehind,
    /// Wake mailboxes whose rows are due and in nobody's hands.
    Sweep,
    /// Remove what is older than it is kept.
    Retain,
}

/// Whether a chore left work behind because its step was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Nothing is left.
    No,
    /// The next step follows soon: what comes in faster than steps at rest remove must not pile up.
    Yes,
}

/// Messages of the chores actor.
#[derive(Debug)]
pub enum Message {
    /// Look what is due.
    Tick,
    /// This chore was done; there is more of it if it took as large a step as it may.
    Done(Chore, More),
    /// A task ended without an answer: it panicked.
    Vanished,
}

/// The state of the chores actor.
#[derive(Debug)]
pub struct State {
    begin: Begin,
    /// Each chore, when it is due, or none while it is under way.
    due: [(Chore, Option<Monotonic>); 3],
    tasks: Tasks,
    alarm: Alarm,
}

impl Actor for Chores {
    type Msg = Message;
    type State = State;
    type Arguments = Begin;

    async fn pre_start(&self, _: ActorRef<Message>, begin: Begin) -> Result<State, ActorProcessingErr> {
        let due = [Chore::WriteBehind, Chore::Sweep, Chore::Retain].map(|chore| (chore, Some(Monotonic(0))));
        Ok(State { begin, due, tasks: Tasks::default(), alarm: Alarm::default() })
    }

    async fn post_start(&self, myself: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.tick(&myself);
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Tick => state.tick(&myself),
            Message::Done(chore, more) => state.done(chore, more),
            Message::Vanished => return Err("a chore ended without an answer".into()),
        }
        Ok(())
    }
}

impl State {
    fn tick(&mut self, myself: &ActorRef<Message>) {
        let context = self.begin.context.clone();
        let now = context.ports.clock.monotonic();
        measure(&context);
        for place in 0..self.due.len() {
            let (chore, at) = self.due[place];
            if at.is_some_and(|at| now >= at) && context.gate.is_open() {
                self.due[place].1 = None;
                let begin = self.begin.clone();
                self.tasks.run(myself, || Message::Vanished, async move { Message::Done(chore, perform(&begin, chore).await) });
            }
        }
        self.alarm.set(now, now + TICK, myself, Message::Tick);
    }

    fn done(&mut self, done: Chore, more: More) {
        let at = self.begin.context.ports.clock.monotonic() + rest(done, more, &self.begin.context.settings);
        self.due.iter_mut().filter(|(chore, _)| *chore == done).for_each(|(_, due)| *due = Some(at));
    }
}

/// How long a chore rests after it was done.
fn rest(done: Chore, more: More, settings: &Settings) -> Duration {
    match (done, more) {
        (Chore::Retain, More::Yes) => TICK.min(settings.retention_step),
        (Chore::Retain, More::No) => settings.retention_step,
        (Chore::WriteBehind, _) => settings.write_behind,
        (Chore::Sweep, More::Yes) => TICK.min(settings.sweep),
        (Chore::Sweep, More::No) => settings.sweep,
    }
}

async fn perform(begin: &Begin, chore: Chore) -> More {
    let Begin { context, directory, session } = begin;
    match chore {
        Chore::WriteBehind => context.committer.flush().await,
        Chore::Sweep => match context.ports.deliveries.stranded(*session, context.ports.clock.now(), SWEEP).await {
            Ok(mailboxes) => {
                metrics::sweeps(metrics::Outcome::Done, 1);
                metrics::swept_mailboxes(mailboxes.len() as u64);
                let more = if mailboxes.len() >= SWEEP as usize { More::Yes } else { More::No };
                mailboxes.into_iter().for_each(|mailbox| directory.tell(mailbox, Input::Resume));
                return more;
            }
            Err(_) => metrics::sweeps(metrics::Outcome::Failed, 1),
        },
        Chore::Retain => return retain(context).await,
    }
    More::No
}

async fn retain(context: &Context) -> More {
    let (now, settings, registry) = (context.ports.clock.now(), &context.settings, &context.ports.registry);
    let rows = context.ports.deliveries.retain(now - settings.retention, RETAIN).await;
    rows.iter().for_each(|rows| metrics::retained_rows(u64::from(*rows)));
    let mailboxes = registry.mailbox_retain(now - settings.keep_unwatched, RETAIN_MAILBOXES).await;
    let lines = registry.audit_retain(now - settings.audit_retention, RETAIN).await;
    let mut more = More::No;
    for (what, removed, most) in
        [("delivery rows", rows, RETAIN), ("mailboxes without devices", mailboxes, RETAIN_MAILBOXES), ("audit lines", lines, RETAIN)]
    {
        match removed {
            Ok(count) if count >= most => more = More::Yes,
            Ok(_) => context.works(what),
            Err(error) => {
                if let Some(due) = context.failed(what) {
                    tracing::warn!(%error, what, repeated = due.repeated, "what is old could not be removed; tried again");
                }
            }
        }
    }
    more
}

fn measure(context: &Context) {
    for (phase, count) in Phase::ALL.into_iter().zip(context.phases.counts()) {
        metrics::mailboxes(phase, f64::from(count));
    }
    metrics::capacity(f64::from(context.settings.max_users));
    let (commits, marks) = context.committer.waiting_requests();
    metrics::queue_depth(metrics::Queue::Commits, commits as f64);
    metrics::queue_depth(metrics::Queue::Marks, marks as f64);
    metrics::queue_depth(metrics::Queue::Deliveries, context.busy.count() as f64);
    metrics::held_bytes(context.budget.taken() as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::memory::Model;
    use crate::testing::scripted::Answer;
    use crate::testing::world::World;

    #[tokio::test(start_paused = true)]
    async fn a_sweep_that_is_full_is_followed_by_the_next_at_once() {
        let mut world = World::new();
        // Each delivery leaves its rows at once.
        world.settings.hold_bytes = 0;
        world.settings.adopt_rate = 10_000;
        let people: Vec<String> = (0..3 * SWEEP).map(|number| format!("user{number}@example.com")).collect();
        for smtp in &people {
            world.register(smtp, "phone").await;
        }
        let system = world.start().await;
        world.until("all are live", || system.context().phases.counts()[3] == 3 * SWEEP).await;
        world.push.always(Some(Answer::later(Some(Duration::from_secs(60)))));
        people.iter().for_each(|smtp| drop(world.mail.deliver(smtp)));
        let waits = |model: &Model| model.deliveries.values().filter(|row| row.attempts == 1).count() == people.len();
        world.until("all wait", || world.store.read(waits)).await;
        world.push.always(None);
        world.mail.deliver(&people[0]);
        world.push.until_accepted(1).await;
        // The provider is back, and some time later the rows of all the others are due at once.
        world.push.until_accepted(2).await;
        let began = tokio::time::Instant::now();
        world.push.until_accepted(people.len()).await;
        // Three were let through to find that out; those that came beside them waited up to 4 s longer, and for the next look.
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_removed_faster_than_it_came_and_at_rest_by_small_steps() {
        let mut world = World::new();
        world.settings.audit_retention = Duration::ZERO;
        let line = crate::ports::registry_store::AuditLine {
            at: world.now() - Duration::from_secs(1),
            who: "k1".into(),
            what: "GET /x".into(),
            object: String::new(),
            status: 200,
            tenant: crate::ids::TenantId("acme".into()),
        };
        for _ in 0..10 * RETAIN {
            crate::ports::RegistryStore::audit(&world.store, &line).await.expect("it is left");
        }
        let began = tokio::time::Instant::now();
        let _system = world.node(&world.store.process(), 1).await;
        world.until("all of it is removed", || world.store.read(|model| model.audit.is_empty())).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let settings = Settings::default();
        assert_eq!(rest(Chore::Retain, More::No, &settings), settings.retention_step);
    }
}
