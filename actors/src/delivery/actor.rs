//! The shell of a delivery: steps its two state machines, carries out their effects in tasks, tells its mailbox.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;

use super::collect::{self, Collect};
use super::message::{CollectEnd, Collected, Message, Order, Sent, Work, code};
use super::send::{self, Sending};
use crate::alarm::Alarm;
use crate::context::{AtWork, Context};
use crate::ids::{Authority, EventKey, ItemId};
use crate::mailbox::journal::{Entry, Journal};
use crate::mailbox::message::Message as ToMailbox;
use crate::mailbox::state::Input;
use crate::places::Place;
use crate::ports::delivery_store::{Mark, Settled};
use crate::ports::mail_source::{MailContent, MailboxRef, SourceError};
use crate::ports::mailbox_store::Commit;
use crate::ports::push_sender::{Permit, Push, Verdict};
use crate::task::Tasks;
use crate::telemetry::metrics::{self, Reason, Shown, VerdictClass};
use crate::time::{Monotonic, Timestamp};

/// The actor; all it is lives in its state.
#[derive(Debug)]
pub struct Delivery;

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
    pub owner: ActorRef<ToMailbox>,
    /// The mailbox's memory.
    pub journal: Arc<Journal>,
    /// Its place among the node's collections; given back when the collection ended.
    pub place: Option<Place>,
}

/// The state of a delivery.
#[derive(Debug)]
pub struct State {
    begin: Begin,
    collect: Collect,
    sending: Option<Sending>,
    early: Option<Early>,
    began: Monotonic,
    tasks: Tasks,
    alarm: Alarm,
    #[allow(dead_code, reason = "held for its Drop")]
    at_work: AtWork,
}

/// What the newest mail shows, read while its rows are committed: most pushes need just that.
#[derive(Debug)]
struct Early {
    asked: Vec<(EventKey, ItemId)>,
    /// One task; ends when this is dropped.
    answer: JoinSet<Result<Vec<Option<MailContent>>, SourceError>>,
}

impl Early {
    fn begin(context: &Arc<Context>, mailbox: &MailboxRef, commit: &Commit) -> Option<Self> {
        let newest = commit.rows.first()?;
        let item = newest.item.clone()?;
        let (context, mailbox, items) = (context.clone(), mailbox.clone(), [item.clone()]);
        let mut answer = JoinSet::new();
        answer.spawn(async move { context.ports.mail.contents(&mailbox, &items).await });
        Some(Self { asked: vec![(newest.event, item)], answer })
    }
}

impl Actor for Delivery {
    type Msg = Message;
    type State = State;
    type Arguments = Begin;

    async fn pre_start(&self, _: ActorRef<Message>, begin: Begin) -> Result<State, ActorProcessingErr> {
        Ok(State {
            collect: Collect::new(begin.mailbox.id, begin.authority, begin.order),
            sending: None,
            early: None,
            at_work: begin.context.busy.enter(),
            began: begin.context.ports.clock.monotonic(),
            begin,
            tasks: Tasks::default(),
            alarm: Alarm::default(),
        })
    }

    async fn post_start(&self, myself: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let due = state.began + state.begin.context.settings.collect_deadline;
        state.alarm.set(state.began, due, &myself, Message::Alarm);
        let first = state.collect.begin();
        state.collecting(&myself, first);
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, state: &mut State) -> Result<(), ActorProcessingErr> {
        let moment = state.begin.context.moment();
        match message {
            Message::Vanished => return Err("a task of the delivery ended without an answer".into()),
            Message::Collected(answer) if state.sending.is_none() => {
                if state.begin.order.work == Work::Seed && matches!(answer, Collected::Page(Ok(_))) {
                    metrics::seeding_pages(1);
                }
                let effect = state.collect.step(moment, answer, &state.begin.context.settings);
                state.collecting(&myself, effect);
            }
            // Still collecting: its deadline passed.
            Message::Alarm if state.sending.is_none() => {
                state.report(CollectEnd::Failed(super::message::Failure::Late), 0);
                myself.stop(None);
            }
            Message::Sent(answer) => state.sending_step(&myself, answer),
            Message::Alarm => state.sending_step(&myself, Sent::Alarm),
            Message::Collected(_) => {}
        }
        Ok(())
    }
}

impl State {
    fn tell(&self, input: Input) {
        // A mailbox that ended needs no report.
        let _ = self.begin.owner.cast(ToMailbox::Delivered(self.begin.number, input));
    }

    fn report(&mut self, end: CollectEnd, pushes: usize) {
        self.begin.place = None;
        let (context, order) = (&self.begin.context, self.begin.order);
        metrics::collection_seconds(context.ports.clock.monotonic().since(self.began).as_secs_f64());
        let (entry, outcome) = match &end {
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
                tracing::debug!(mailbox = %self.begin.mailbox.smtp, work = ?order.work, code = code_of, "a collection failed");
                let throttled = code_of == "throttled";
                (
                    Entry::CollectFailed(order.work, code(&code_of)),
                    if throttled { metrics::Collected::Throttled } else { metrics::Collected::Failed },
                )
            }
        };
        metrics::collections(outcome, 1);
        self.begin.journal.note(context.ports.clock.now(), entry);
        self.tell(Input::Collected { end, sending: pushes > 0 });
    }

    /// Carries out an effect of the collecting part.
    fn collecting(&mut self, myself: &ActorRef<Message>, effect: collect::Effect) {
        let (context, mailbox, authority) = (self.begin.context.clone(), self.begin.mailbox.clone(), self.begin.authority);
        let mut run = |work| self.tasks.run(myself, || Message::Vanished, work);
        match effect {
            collect::Effect::Load => run(boxed(async move { Collected::Row(context.committer.load(mailbox.id, authority).await) })),
            collect::Effect::Page(state) => {
                run(boxed(async move { Collected::Page(context.ports.mail.changes(&mailbox, state.as_ref()).await) }))
            }
            collect::Effect::Recent(since) => {
                run(boxed(async move { Collected::Recent(context.ports.mail.received_since(&mailbox, since, 50).await) }));
            }
            collect::Effect::Pending => run(boxed(async move { Collected::Pending(context.ports.deliveries.pending(mailbox.id).await) })),
            collect::Effect::Recipients(events) => {
                run(boxed(async move { Collected::Recipients(context.ports.devices.recipients(mailbox.id, &events).await) }));
            }
            collect::Effect::Commit(commit) => {
                self.early = Early::begin(&context, &mailbox, &commit);
                run(boxed(async move { Collected::Committed(context.committer.commit(commit).await) }));
            }
            collect::Effect::WriteBehind(commit) => {
                context.committer.write_behind(commit);
                let written = Collected::Committed(super::message::CommitAnswer::Matched(Vec::new()));
                let next = self.collect.step(context.moment(), written, &context.settings);
                self.collecting(myself, next);
            }
            collect::Effect::End(end, pushes) => {
                self.report(end, pushes.len());
                if pushes.is_empty() {
                    myself.stop(None);
                    return;
                }
                let moment = context.moment();
                let settings = &context.settings;
                let mut sending =
                    Sending::new((mailbox.id, authority), pushes, self.begin.order, moment.at, context.budget.clone(), settings);
                let effects = sending.begin(moment, settings);
                self.sending = Some(sending);
                effects.into_iter().for_each(|effect| self.send(myself, effect));
                self.rearm(myself);
            }
        }
    }

    fn sending_step(&mut self, myself: &ActorRef<Message>, input: Sent) {
        let context = self.begin.context.clone();
        let Some(sending) = &mut self.sending else { return };
        let effects = sending.step(context.moment(), input, &context.settings);
        effects.into_iter().for_each(|effect| self.send(myself, effect));
        self.rearm(myself);
    }

    fn rearm(&mut self, myself: &ActorRef<Message>) {
        if let Some(sending) = &self.sending {
            self.alarm.set(self.begin.context.ports.clock.monotonic(), sending.due(), myself, Message::Alarm);
        }
    }

    /// Carries out an effect of the sending part.
    fn send(&mut self, myself: &ActorRef<Message>, effect: send::Effect) {
        let (context, mailbox) = (self.begin.context.clone(), self.begin.mailbox.clone());
        let hinted_at = self.begin.order.hinted_at;
        let journal = self.begin.journal.clone();
        let mut run = |work| self.tasks.run(myself, || Message::Vanished, work);
        match effect {
            send::Effect::Contents(asked) => {
                let early = self.early.take().filter(|early| early.asked == asked);
                run(sent(async move {
                    let (events, items): (Vec<EventKey>, Vec<ItemId>) = asked.into_iter().unzip();
                    if let Some(mut early) = early
                        && let Some(Ok(answer)) = early.answer.join_next().await
                    {
                        return Sent::Contents(events, answer);
                    }
                    let answer = context.ports.mail.contents(&mailbox, &items).await;
                    Sent::Contents(events, answer)
                }));
            }
            send::Effect::Unread => run(sent(async move { Sent::Unread(context.ports.mail.unread(&mailbox).await) })),
            send::Effect::Turn(place, channel) => {
                run(sent(async move { Sent::Turn(place, context.turn(&channel, context.ports.clock.monotonic())) }));
            }
            send::Effect::Room(place, channel) => run(sent(async move {
                if let Some(after) = context.rests(&channel, context.ports.clock.monotonic()) {
                    return Sent::Room(place, Err(Verdict::Later { after: Some(after), reason: code("channel_rests") }));
                }
                Sent::Room(place, context.ports.push.permit(&channel).await)
            })),
            send::Effect::Device(place, device) => run(sent(async move { Sent::Device(place, context.committer.device(device).await) })),
            send::Effect::Send { place, permit, push, received_at } => run(sent(async move {
                let verdict = transmit(&context, &journal, permit, push, (hinted_at, received_at)).await;
                Sent::Answer(place, verdict)
            })),
            send::Effect::Forget(device, generation, since) => run(sent(async move {
                let answer = context.ports.devices.device_forget(device, generation, since).await;
                if answer == Ok(true) {
                    tracing::info!(mailbox = %mailbox.id, %device, "the provider says that the device is gone: forgotten");
                }
                Sent::Forgotten
            })),
            send::Effect::Write(marks, retries) => {
                count_marks(&marks);
                run(sent(async move { Sent::Written(context.committer.write(marks, retries).await) }));
            }
            send::Effect::Done { left } => {
                self.tell(Input::Settled { left });
                myself.stop(None);
            }
        }
    }
}

/// Sends one push if the gate still lets it out, and passes the verdict by the breaker.
async fn transmit(
    context: &Context,
    journal: &Journal,
    permit: Permit,
    push: Push,
    (hinted_at, received_at): (Option<Monotonic>, Option<Timestamp>),
) -> Verdict {
    let (channel, token, shown) = (push.channel.clone(), push.token.clone(), Shown::of(&push.content));
    if !context.gate.lets_pushes_out() {
        return Verdict::Later { after: None, reason: code("gate_closed") };
    }
    let verdict = context.ports.push.send(permit, push).await;
    let moment = context.moment();
    metrics::push_answered(channel.provider, shown, VerdictClass::of(&verdict), Reason::of(&verdict), 1);
    if let (Verdict::Accepted, Some(hinted)) = (&verdict, hinted_at) {
        metrics::push_latency(channel.provider, moment.at.since(hinted).as_secs_f64());
    }
    match &verdict {
        Verdict::Accepted => received_at.into_iter().for_each(|at| metrics::push_age(channel.provider, moment.now.since(at).as_secs_f64())),
        Verdict::DeviceGone { .. } => metrics::dead_letters(metrics::Dead::DeviceGone, 1),
        Verdict::Refused { .. } => metrics::dead_letters(metrics::Dead::Refused, 1),
        _ => {}
    }
    let (class, reason) = told(&verdict);
    journal.note(moment.now, Entry::Answered(channel.provider, class, reason));
    context.judge(&channel, &token, moment.at, verdict)
}

fn count_marks(marks: &[Mark]) {
    for mark in marks {
        match mark.settled {
            Settled::Superseded => metrics::superseded(metrics::Superseded::Gone, 1),
            Settled::Dead if &*mark.reason == "expired" => metrics::dead_letters(metrics::Dead::Expired, 1),
            Settled::Dead | Settled::Sent => {}
        }
    }
}

fn told(verdict: &Verdict) -> (&'static str, Arc<str>) {
    match verdict {
        Verdict::Accepted => ("accepted", code("ok")),
        Verdict::Later { reason, .. } => ("later", reason.clone()),
        Verdict::Unknown { reason } => ("no answer", reason.clone()),
        Verdict::DeviceGone { reason, .. } => ("device gone", reason.clone()),
        Verdict::Refused { reason } => ("refused", reason.clone()),
        Verdict::Credentials { reason } => ("credentials", reason.clone()),
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = Message> + Send>>;

fn boxed(work: impl Future<Output = Collected> + Send + 'static) -> Task {
    Box::pin(async move { Message::Collected(work.await) })
}

fn sent(work: impl Future<Output = Sent> + Send + 'static) -> Task {
    Box::pin(async move { Message::Sent(work.await) })
}
