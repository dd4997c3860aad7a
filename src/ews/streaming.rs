//! The streaming connection of one group: opened, read envelope by envelope, and opened again whatever ends it.

use std::sync::Arc;
use std::time::Duration;

use postrider_actors::ports::mail_source::Hint;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::Target;
use super::ended::Ended;
use super::error::EwsError;
use super::groups::{GroupId, Lost, Snapshot};
use super::judgement::{Judgement, Named, judge};
use super::soap::AnswerError;
use super::soap::get_streaming_events::{self as stream, StreamEnvelope};
use super::soap::splitter::Splitter;
use super::suspects;
use super::watching::Watching;
use crate::http::http1::Reply;
use crate::telemetry::metrics::{self, StreamEnd};

/// A stream that lasted at least so long counts as good; one that ends earlier again and again is opened with growing delay.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// Streams that may end early before the first delay.
const EARLY_ENDS: u32 = 2;
/// So many answers in a row that are no stream, and the group is given up: its server, or what the affinity cookie names, may be gone for good.
const GIVE_UP_AFTER: u32 = 8;

/// A stream that lasted so long without a doubt is believed in again.
const CALM: Duration = Duration::from_secs(60);

/// One group's stream.
pub struct GroupStream {
    watching: Arc<Watching>,
    group: GroupId,
    changed: Arc<Notify>,
    /// Failures, or early ends, in a row.
    failures: u32,
    /// Faults in a row that named nobody while the stream went on.
    doubts: u32,
    /// Answers in a row that were no stream.
    answered_otherwise: u32,
    /// Whether the group was told that events flow.
    flowing: bool,
    /// Whether a stream was opened before: then joins were waited for while it ran.
    opened_before: bool,
    /// The stream that the next one replaces; the server moves its subscriptions over, so that nobody is without a stream meanwhile.
    former: Option<Reply>,
}

impl GroupStream {
    /// Makes the stream of a group that was just opened.
    #[must_use]
    pub fn new(watching: Arc<Watching>, group: GroupId, changed: Arc<Notify>) -> Self {
        Self { watching, group, changed, failures: 0, doubts: 0, answered_otherwise: 0, flowing: false, opened_before: false, former: None }
    }

    /// Runs until the group has no members or the mail source is stopped.
    pub async fn run(mut self) {
        let stop = self.watching.stop.clone();
        stop.run_until_cancelled(async {
            while let Some(snapshot) = self.gather().await {
                self.opened_before = true;
                let begun = Instant::now();
                let ended = self.once(&snapshot).await;
                if let Some(why) = ended.why() {
                    metrics::stream_ended(why, 1);
                }
                self.after(&snapshot, ended, begun.elapsed()).await;
            }
        })
        .await;
    }

    /// Waits until there is a subscription and, the first time, until joins have become quiet; `None` once the group is closed.
    async fn gather(&mut self) -> Option<Snapshot> {
        let settings = self.watching.client.settings();
        let mut limit = None;
        loop {
            let snapshot = self.watching.groups().snapshot(self.group)?;
            if snapshot.subscriptions.is_empty() {
                self.former = None;
                self.changed.notified().await;
                continue;
            }
            let limit = *limit.get_or_insert_with(|| Instant::now() + settings.join_limit);
            let quiet = Instant::now() + settings.join_quiet;
            let at_once = self.opened_before || snapshot.full;
            if at_once || tokio::time::timeout_at(quiet.min(limit), self.changed.notified()).await.is_err() {
                return self
                    .watching
                    .groups()
                    .snapshot(self.group)
                    .filter(|snapshot| !snapshot.subscriptions.is_empty())
                    .or(Some(snapshot));
            }
        }
    }

    /// Opens the stream and reads it to its end.
    async fn once(&mut self, snapshot: &Snapshot) -> Ended {
        let former = self.former.take();
        let budget = self.watching.client.budget(&snapshot.key.tenant, &snapshot.key.endpoint);
        if let Some(left) = budget.silence() {
            return Ended::Failed(EwsError::Silence(left));
        }
        let _room = match budget.stream().await {
            Ok(room) => room,
            Err(error) => return Ended::Failed(error),
        };
        let minutes = self.watching.client.settings().stream_minutes;
        let opened = open(&self.watching, snapshot, &snapshot.subscriptions, minutes).await;
        drop(former);
        match opened {
            Ok(response) => self.read(snapshot, response).await,
            Err(EwsError::Fault(fault)) => {
                let said = StreamEnvelope { fault: Some(fault), closed: true, ..StreamEnvelope::default() };
                self.heed(snapshot, &said, &mut Joins::default()).unwrap_or(Ended::Reopen(StreamEnd::Closed))
            }
            Err(error) => Ended::Failed(error),
        }
    }

    /// Reads envelopes until the stream ends, falls silent, or members have joined.
    async fn read(&mut self, snapshot: &Snapshot, mut response: Reply) -> Ended {
        let watching = Arc::clone(&self.watching);
        let settings = watching.client.settings();
        let budget = watching.client.budget(&snapshot.key.tenant, &snapshot.key.endpoint);
        let changed = Arc::clone(&self.changed);
        let mut splitter = Splitter::new(settings.answer_limit.len());
        let mut joins = Joins::default();
        let mut silent_at = Instant::now() + settings.stream_silence;
        let mut first = true;
        let _open = metrics::stream_open();
        let mut _carried = Vec::new();
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = tokio::time::timeout_at(silent_at, response.chunk()) => match chunk {
                    Ok(Ok(Some(chunk))) => chunk,
                    Ok(Ok(None)) => return Ended::Failed(EwsError::Transport("the stream ended without being closed".into())),
                    Ok(Err(error)) => return Ended::Failed(error.into()),
                    Err(_) => return Ended::Failed(EwsError::Deadline),
                },
                () = changed.notified() => {
                    let groups = watching.groups();
                    if !groups.is_open(self.group) {
                        return Ended::Reopen(StreamEnd::Regrouped);
                    }
                    if groups.has_joined(self.group, &snapshot.subscriptions) {
                        joins.noted(settings.join_quiet, settings.join_limit);
                    }
                    drop(groups);
                    continue;
                }
                () = joins.due() => {
                    self.former = Some(response);
                    return Ended::Reopen(StreamEnd::Regrouped);
                }
            };
            // An envelope that has begun must end within the time of silence, however slowly its bytes come.
            if !splitter.unfinished() {
                silent_at = Instant::now() + settings.stream_silence;
            }
            splitter.push(&chunk);
            loop {
                let envelope = match splitter.next_envelope() {
                    Ok(Some(envelope)) => envelope,
                    Ok(None) => break,
                    Err(error) => return Ended::Failed(EwsError::Transport(error.to_string().into())),
                };
                silent_at = Instant::now() + settings.stream_silence;
                budget.heard();
                let said = match stream::read(&envelope) {
                    Ok(said) => said,
                    Err(error) => return Ended::Failed(error.into()),
                };
                if !said.closed && (said.fault.is_none() || self.judge(&said) == Judgement::Missed) && std::mem::take(&mut first) {
                    _carried.extend(snapshot.subscriptions.iter().map(|_| metrics::subscribed()));
                    self.flows(snapshot);
                }
                // One that is refused before it spoke is over, whatever is said of the connection.
                let refused = first && said.fault.is_some() && self.judge(&said) != Judgement::Ignore;
                let said = StreamEnvelope { closed: said.closed || refused, ..said };
                self.hand_over(&said);
                if let Some(ended) = self.heed(snapshot, &said, &mut joins) {
                    return ended;
                }
            }
        }
    }

    /// The first envelope is there: events flow from here on.
    fn flows(&mut self, snapshot: &Snapshot) {
        self.flowing = true;
        self.answered_otherwise = 0;
        let listeners = self.watching.groups().speaks(self.group, &snapshot.subscriptions, true);
        self.watching.tell(listeners, Hint::StreamOpened);
    }

    /// Hands events over as hints.
    fn hand_over(&self, said: &StreamEnvelope) {
        let at = self.watching.clock.monotonic();
        for notification in said.notifications.iter().filter(|notification| notification.changed) {
            let owner = self.watching.groups().owner(self.group, &notification.subscription);
            self.watching.tell(owner, Hint::Touched { mail: notification.mail, unread: notification.unread, at });
        }
    }

    /// Events were lost, the subscriptions live and the stream goes on.
    fn missed(&self, snapshot: &Snapshot, said: &StreamEnvelope) {
        let whom = if said.error_ids.is_empty() {
            self.watching.groups().listeners(self.group, &snapshot.subscriptions)
        } else {
            let groups = self.watching.groups();
            said.error_ids.iter().filter_map(|id| groups.owner(self.group, id)).collect()
        };
        self.watching.tell_cause(whom.iter().copied(), said.fault.as_ref().map_or("EventsLost", |fault| &fault.code));
        self.watching.tell(whom.iter().copied(), Hint::Gap);
        self.watching.tell(whom, Hint::StreamOpened);
    }

    /// What a fault is about.
    fn judge(&self, said: &StreamEnvelope) -> Judgement {
        let Some(fault) = &said.fault else { return Judgement::Ignore };
        let groups = self.watching.groups();
        let mut named = Named::default();
        for id in &said.error_ids {
            let (ours, ended) = (groups.owner(self.group, id).is_some(), groups.has_ended(id));
            named.ours |= ours;
            named.ended |= ended && !ours;
            named.strange |= !ours && !ended;
        }
        judge(fault.action, named)
    }

    /// Acts on what an envelope says of the stream; `None` if the stream goes on.
    fn heed(&mut self, snapshot: &Snapshot, said: &StreamEnvelope, joins: &mut Joins) -> Option<Ended> {
        let Some(fault) = &said.fault else { return said.closed.then_some(Ended::Reopen(StreamEnd::Closed)) };
        let failed = || Some(Ended::Failed(EwsError::Fault(fault.clone())));
        let settings = self.watching.client.settings();
        let opened_with = |id: &str| snapshot.subscriptions.iter().any(|known| **known == *id);
        let judgement = self.judge(said);
        // What concerns all may become a gap.
        if said.closed || !matches!(judgement, Judgement::Ignore | Judgement::Lose { .. } | Judgement::Missed | Judgement::Verify { .. }) {
            self.tell_cause(snapshot, &fault.code);
        }
        match judgement {
            // Without what has ended meanwhile the next one fares better.
            Judgement::Ignore if said.closed && said.error_ids.iter().any(|id| opened_with(id)) => Some(Ended::Fewer),
            Judgement::Ignore => said.closed.then_some(Ended::Reopen(StreamEnd::Refused)),
            Judgement::Lose { rediscover } => {
                self.lose(said.error_ids.iter().map(|id| &**id), rediscover, Lost::Refused, &fault.code);
                // Some servers tell nothing more of the good ones: the stream goes on until another takes its place, so that nobody misses anything.
                joins.noted(settings.join_quiet, settings.join_limit);
                // One bad id silences the good ones when a stream is opened: it is opened again with those.
                said.closed.then_some(Ended::Fewer)
            }
            Judgement::Missed => {
                self.missed(snapshot, said);
                said.closed.then_some(Ended::Reopen(StreamEnd::Refused))
            }
            Judgement::Verify { rediscover } if said.closed => Some(Ended::Suspects { rediscover }),
            Judgement::Verify { .. } => {
                self.doubts = self.doubts.saturating_add(1);
                let client = &self.watching.client;
                joins.at(Instant::now() + client.chance().delay(self.doubts, settings.join_quiet, settings.retry_limit));
                None
            }
            Judgement::Anchor => {
                // Its own next call says why.
                let groups = self.watching.groups();
                let anchor = groups.subscription_of(self.group, &snapshot.act_for);
                drop(groups);
                self.lose(anchor.iter().map(|id| &**id), true, Lost::Refused, &fault.code);
                failed()
            }
            Judgement::PassAnchorOver => {
                self.watching.groups().pass_anchor_over(self.group);
                failed()
            }
            Judgement::Silence => {
                let budget = self.watching.client.budget(&snapshot.key.tenant, &snapshot.key.endpoint);
                Some(Ended::Failed(self.watching.client.note_busy(&budget, fault)))
            }
            Judgement::Failed => failed(),
        }
    }

    /// Subscriptions are gone: says so and by which code.
    fn lose<'a>(&self, subscriptions: impl IntoIterator<Item = &'a str>, rediscover: bool, how: Lost, code: &str) {
        let lost = self.watching.groups().lose(self.group, subscriptions, how);
        if rediscover {
            lost.iter().for_each(|mailbox| self.watching.locator.forget(mailbox));
        }
        self.watching.tell_cause(lost.iter().map(|mailbox| mailbox.id), code);
        self.watching.tell(lost.iter().map(|mailbox| mailbox.id), Hint::SubscriptionLost { rediscover });
    }

    /// Tells of the gap if there is one, and waits as long as the end asks for.
    async fn after(&mut self, snapshot: &Snapshot, ended: Ended, lasted: Duration) {
        if lasted >= GOOD_AFTER {
            self.failures = 0;
        }
        if let Some(code) = ended.code() {
            self.tell_cause(snapshot, &code);
        }
        if lasted >= CALM {
            self.doubts = 0;
        }
        let error = match ended {
            // Members joined: that is no failure, however often they do.
            Ended::Reopen(StreamEnd::Regrouped) | Ended::Fewer => return,
            Ended::Reopen(_) => {
                self.failures += u32::from(lasted < GOOD_AFTER);
                if self.failures > EARLY_ENDS {
                    self.tell_gap(snapshot);
                    self.pause(None).await;
                }
                return;
            }
            Ended::Suspects { rediscover } => {
                self.failures += 1;
                self.tell_gap(snapshot);
                let bad = suspects::find(&self.watching, snapshot, self.failures).await;
                self.lose(bad.iter().map(|id| &**id), rediscover, Lost::Refused, "SubscriptionGone");
                if bad.is_empty() {
                    self.pause(None).await;
                }
                return;
            }
            Ended::Failed(error) => error,
        };
        tracing::info!(code = error.code(), mailboxes = snapshot.subscriptions.len(), "a stream is interrupted");
        self.tell_gap(snapshot);
        self.answered_otherwise += u32::from(error.answered_otherwise());
        if self.answered_otherwise >= GIVE_UP_AFTER {
            self.answered_otherwise = 0;
            self.lose(snapshot.subscriptions.iter().map(|id| &**id), true, Lost::GivenUp, &error.code());
        }
        if error.may_be_the_mailbox_s() {
            self.watching.groups().pass_anchor_over(self.group);
        }
        match error {
            EwsError::Silence(left) | EwsError::Busy { retry_after: left, .. } => self.pause(Some(left)).await,
            // A connection was mixed up; another one helps, once.
            EwsError::Answer(AnswerError::WrongOperation) if self.failures == 0 => self.failures = 1,
            _ => {
                self.failures += 1;
                self.pause(None).await;
            }
        }
    }

    /// Says by its code why notifications will be interrupted, for whoever asks why mail was late.
    fn tell_cause(&self, snapshot: &Snapshot, code: &str) {
        let listeners = self.watching.groups().listeners(self.group, &snapshot.subscriptions);
        self.watching.tell_cause(listeners, code);
    }

    fn tell_gap(&mut self, snapshot: &Snapshot) {
        if std::mem::take(&mut self.flowing) {
            let listeners = self.watching.groups().speaks(self.group, &snapshot.subscriptions, false);
            self.watching.tell(listeners, Hint::Gap);
        }
    }

    /// Waits for a told time, or one that grows with the failures and varies; not for a group that is closed meanwhile.
    async fn pause(&self, told: Option<Duration>) {
        let client = &self.watching.client;
        let settings = client.settings();
        let delay = told.unwrap_or_else(|| client.chance().delay(self.failures, settings.retry_first, settings.retry_limit));
        let over = Instant::now() + delay;
        while self.watching.groups().is_open(self.group) {
            // What joins meanwhile is seen when the stream is opened again.
            if tokio::time::timeout_at(over, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// Opens a stream for some subscriptions of a group.
///
/// # Errors
/// [`EwsError`].
pub async fn open(watching: &Watching, snapshot: &Snapshot, subscriptions: &[Arc<str>], minutes: u32) -> Result<Reply, EwsError> {
    let budget = watching.client.budget(&snapshot.key.tenant, &snapshot.key.endpoint);
    let access = &watching.tenant(&snapshot.key.tenant)?.access;
    let target = Target {
        endpoint: &snapshot.key.endpoint,
        budget: &budget,
        access,
        act_for: snapshot.act_for.as_str(),
        affinity: Some(&snapshot.affinity),
    };
    watching.client.open_stream(&target, subscriptions, minutes).await
}

/// Members that joined while the stream runs: when it is opened again for them.
#[derive(Default)]
struct Joins {
    due: Option<Instant>,
    limit: Option<Instant>,
}

impl Joins {
    fn noted(&mut self, quiet: Duration, limit: Duration) {
        let now = Instant::now();
        let limit = *self.limit.get_or_insert(now + limit);
        self.due = Some((now + quiet).min(limit));
    }

    fn at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}
