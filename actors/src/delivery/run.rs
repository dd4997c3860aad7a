//! A delivery as it runs: one task of its mailbox that steps the two state machines and carries out what they want.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _, MaybeDone, maybe_done};
use futures_util::stream::FuturesUnordered;
use ractor::ActorRef;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::breaker::{Waits, Whose};
use super::channels::waiting;
use super::collect::{self, Collect};
use super::message::{CollectEnd, Collected, CommitAnswer, Failure, More, Order, Sent, Work, code};
use super::outgoing::Outgoing;
use super::send::{self, Sending};
use super::transmit::{count_marks, transmit};
use crate::context::Context;
use crate::ids::{Authority, EventKey, ItemId};
use crate::mailbox::journal::{Entry, Journal};
use crate::mailbox::message::Message;
use crate::mailbox::state::Input;
use crate::places::Place;
use crate::ports::mail_source::{MailContent, MailboxRef, SourceError};
use crate::ports::mailbox_store::Commit;
use crate::ports::push_sender::Channel;
use crate::telemetry::metrics;
use crate::time::Monotonic;

/// What a delivery begins with.
#[derive(Debug)]
pub struct Begin {
    /// Shared by the node.
    pub context: Arc<Context>,
    /// About which mailbox.
    pub mailbox: MailboxRef,
    /// Under which authority.
    pub authority: Authority,
    /// What to do.
    pub order: Order,
    /// Which of the mailbox's deliveries it is.
    pub number: u32,
    /// Whom to tell.
    pub owner: ActorRef<Message>,
    /// The mailbox's memory.
    pub journal: Arc<Journal>,
    /// Its place among the node's collections; given back when the collection ended.
    pub place: Option<Place>,
    /// Wakes it to come to rest: nothing is held for another try.
    pub settle: Arc<Settle>,
}

/// Tells a delivery to come to rest.
#[derive(Debug, Default)]
pub struct Settle {
    wanted: Notify,
    hand_over: AtomicBool,
}

impl Settle {
    /// Come to rest; at a hand-over what is not at its provider yet is left to the next owner.
    pub fn ask(&self, hand_over: bool) {
        self.hand_over.fetch_or(hand_over, Ordering::Relaxed);
        self.wanted.notify_one();
    }
}

/// Runs a delivery; counted as under way from this call on. What it returns is its last word to its mailbox. It may be dropped at any await:
/// what it did not settle is found again.
pub fn run(mut begin: Begin) -> impl Future<Output = Message> + Send {
    let at_work = begin.context.busy.enter();
    async move {
        let _at_work = at_work;
        let context = begin.context.clone();
        let began = context.ports.clock.monotonic();
        let mut early = None;
        let collected = tokio::time::timeout(context.settings.collect_deadline, collected(&begin, &mut early)).await;
        let (end, pushes) = collected.unwrap_or_else(|_| (CollectEnd::Failed(Failure::Late), Vec::new()));
        begin.place = None;
        let report = Message::Delivered(begin.number, report(&begin, began, end, pushes.len()));
        if pushes.is_empty() {
            return report;
        }
        // A mailbox that ended needs no report.
        let _ = begin.owner.cast(report);
        let left = settled(&begin, early, pushes).await;
        Message::Delivered(begin.number, Input::Settled { left })
    }
}

/// The collecting part.
async fn collected(begin: &Begin, early: &mut Option<Early>) -> (CollectEnd, Vec<Outgoing>) {
    let (context, mailbox) = (&begin.context, &begin.mailbox);
    let mut collect = Collect::new(mailbox.id, begin.authority, begin.order);
    let mut effect = collect.begin();
    loop {
        let answer = match effect {
            collect::Effect::Load => Collected::Row(context.committer.load(mailbox.id, begin.authority).await),
            collect::Effect::Page(state) => {
                let page = context.ports.mail.changes(mailbox, state.as_ref()).await;
                if begin.order.work == Work::Seed && page.is_ok() {
                    metrics::seeding_pages(1);
                }
                Collected::Page(page)
            }
            collect::Effect::Recent(since) => Collected::Recent(context.ports.mail.received_since(mailbox, since, 50).await),
            collect::Effect::Pending => Collected::Pending(context.ports.deliveries.pending(mailbox.id, begin.authority).await),
            collect::Effect::Recipients(events) => Collected::Recipients(context.ports.devices.recipients(mailbox.id, &events).await),
            collect::Effect::Commit(commit) => {
                *early = Early::begin(context, mailbox, &commit);
                Collected::Committed(committed(context, commit, early).await)
            }
            collect::Effect::WriteBehind(commit) => {
                context.committer.write_behind(commit);
                Collected::Committed(CommitAnswer::Matched(Vec::new()))
            }
            collect::Effect::End(end, pushes) => return (end, pushes),
        };
        effect = collect.step(context.moment(), answer, &context.settings);
    }
}

/// Commits; what the newest mail shows is read beside it.
async fn committed(context: &Context, commit: Commit, early: &mut Option<Early>) -> CommitAnswer {
    let mut commit = pin!(context.committer.commit(commit));
    poll_fn(|waker| {
        if let Some(early) = early {
            // Kept until it is asked for.
            let _ = early.answer.poll_unpin(waker);
        }
        commit.as_mut().poll(waker)
    })
    .await
}

/// What the newest mail shows, read while its rows are committed: most pushes need just that.
struct Early {
    asked: Vec<(EventKey, ItemId)>,
    answer: MaybeDone<BoxFuture<'static, Result<Vec<Option<MailContent>>, SourceError>>>,
}

impl Early {
    fn begin(context: &Arc<Context>, mailbox: &MailboxRef, commit: &Commit) -> Option<Self> {
        let newest = commit.rows.first()?;
        let item = newest.item.clone()?;
        let (context, mailbox, items) = (context.clone(), mailbox.clone(), [item.clone()]);
        let answer = async move { context.ports.mail.contents(&mailbox, &items).await };
        Some(Self { asked: vec![(newest.event, item)], answer: maybe_done(answer.boxed()) })
    }

    async fn answer(mut self) -> Option<Result<Vec<Option<MailContent>>, SourceError>> {
        (&mut self.answer).await;
        Pin::new(&mut self.answer).take_output()
    }
}

fn report(begin: &Begin, began: Monotonic, end: CollectEnd, pushes: usize) -> Input {
    let (context, order) = (&begin.context, begin.order);
    metrics::collection_seconds(context.ports.clock.monotonic().since(began).as_secs_f64());
    let (entry, outcome) = match &end {
        CollectEnd::Done { announced: 0, more: More::Endless, .. } if pushes == 0 && matches!(order.work, Work::Sync | Work::Seed) => {
            (Entry::Endless(order.work), metrics::Collected::Endless)
        }
        CollectEnd::Done { announced, .. } => {
            let outcome = match (*announced, pushes) {
                (0, 0) => metrics::Collected::Nothing,
                (0, _) => metrics::Collected::Badge,
                _ => metrics::Collected::Mail,
            };
            (Entry::Collected { work: order.work, mails: *announced, pushes: pushes as u32 }, outcome)
        }
        CollectEnd::Failed(failure) => {
            let code_of = failure.code();
            tracing::debug!(mailbox = %begin.mailbox.smtp, work = ?order.work, code = code_of, "a collection failed");
            let throttled = code_of == "throttled";
            let outcome = if throttled { metrics::Collected::Throttled } else { metrics::Collected::Failed };
            (Entry::CollectFailed(order.work, code(&code_of)), outcome)
        }
    };
    metrics::collections(outcome, 1);
    begin.journal.note(context.ports.clock.now(), entry);
    Input::Collected { end, sending: pushes > 0 }
}

/// The sending part; says whether rows were left.
async fn settled(begin: &Begin, mut early: Option<Early>, pushes: Vec<Outgoing>) -> bool {
    let (context, settings) = (&begin.context, &begin.context.settings);
    let moment = context.moment();
    let whose = (begin.mailbox.id, begin.authority);
    let mut sending = Sending::new(whose, pushes, begin.order, moment.at, context.budget.clone(), settings);
    let mut effects = sending.begin(moment, settings);
    // Most have one thing under way at a time.
    let (mut first, mut others) = (pin!(None), None::<FuturesUnordered<_>>);
    let mut alarm = pin!(tokio::time::sleep_until(Instant::now()));
    let mut settle = pin!(begin.settle.wanted.notified());
    let mut armed = None;
    loop {
        for effect in effects {
            if let send::Effect::Done { left } = effect {
                return left;
            }
            let work = carry_out(begin, effect, &mut early);
            if first.is_none() { first.set(Some(work)) } else { others.get_or_insert_default().push(work) }
        }
        let due = sending.due();
        if armed != Some(due) {
            armed = Some(due);
            alarm.as_mut().reset(Instant::now() + due.since(context.ports.clock.monotonic()));
        }
        let next = poll_fn(|waker| {
            if let Some(work) = first.as_mut().as_pin_mut()
                && let Poll::Ready(sent) = work.poll(waker)
            {
                first.set(None);
                return Poll::Ready(sent);
            }
            match others.as_mut().map(|others| others.poll_next_unpin(waker)) {
                Some(Poll::Ready(Some(sent))) => Poll::Ready(sent),
                _ => Poll::Pending,
            }
        });
        let input = tokio::select! {
            biased;
            () = &mut settle => {
                settle.set(begin.settle.wanted.notified());
                Sent::Settle { hand_over: begin.settle.hand_over.load(Ordering::Relaxed) }
            }
            sent = next => sent,
            () = &mut alarm => {
                armed = None;
                Sent::Alarm
            }
        };
        effects = sending.step(context.moment(), input, settings);
    }
}

/// Notes that a push waits for its channel.
fn waits_for(begin: &Begin, channel: &Channel, waits: Waits) -> Waits {
    let context = &begin.context;
    let reason = if waits.trouble.is_some() { context.trouble_of(channel) } else { None };
    let now = context.ports.clock.now();
    let until = now + waits.left;
    begin.journal.note(now, Entry::Waits { provider: channel.provider, channel: waits.trouble.is_some(), reason, until });
    waits
}

/// Carries out an effect of the sending part.
fn carry_out<'a>(begin: &'a Begin, effect: send::Effect, early: &mut Option<Early>) -> impl Future<Output = Sent> + Send + use<'a> {
    let early = match &effect {
        send::Effect::Contents(asked) => early.take().filter(|early| early.asked == *asked),
        _ => None,
    };
    async move {
        let (context, mailbox) = (&begin.context, &begin.mailbox);
        match effect {
            send::Effect::Contents(asked) => {
                let (events, items): (Vec<EventKey>, Vec<ItemId>) = asked.into_iter().unzip();
                if let Some(early) = early
                    && let Some(answer) = early.answer().await
                {
                    return Sent::Contents(events, answer);
                }
                let answer = context.ports.mail.contents(mailbox, &items).await;
                Sent::Contents(events, answer)
            }
            send::Effect::Unread => Sent::Unread(context.ports.mail.unread(mailbox).await),
            send::Effect::Turn(place, channel, device) => {
                let turn = context.turn(&channel, Whose { mailbox: mailbox.id, device });
                Sent::Turn(place, turn.map_err(|waits| waits_for(begin, &channel, waits).left))
            }
            send::Effect::Begin(place, retries) => Sent::Begun(place, context.committer.write(Vec::new(), retries).await),
            send::Effect::Room(place, channel, device) => {
                if let Err(waits) = context.room(&channel, Whose { mailbox: mailbox.id, device }) {
                    return Sent::Room(place, Err(waiting(waits_for(begin, &channel, waits))));
                }
                Sent::Room(place, context.ports.push.permit(&channel).await)
            }
            send::Effect::Device(place, device) => Sent::Device(place, context.committer.device(device).await),
            send::Effect::Send { place, device, permit, push, received_at } => {
                let (times, whose) = ((begin.order.hinted_at, received_at), Whose { mailbox: mailbox.id, device });
                Sent::Answer(place, transmit(context, &begin.journal, whose, permit, push, times).await)
            }
            send::Effect::Forget(device, generation, since, provider) => {
                let answer = context.ports.devices.device_forget(device, generation, since).await;
                if answer == Ok(true) {
                    provider.into_iter().for_each(|provider| metrics::devices_forgotten(provider, 1));
                    tracing::info!(mailbox = %mailbox.id, %device, "the provider says that the device is gone: forgotten");
                }
                Sent::Forgotten
            }
            send::Effect::Write(marks, retries) => {
                count_marks(&marks);
                Sent::Written(context.committer.write(marks, retries).await)
            }
            send::Effect::Done { .. } => unreachable!("it ends the delivery where it is met"),
        }
    }
}
