//! A stream under way: notifications as they come, signs of life, and its end, planned or not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::Call;
use super::super::subscription::unusable;
use super::body::Piece;
use super::envelopes;
use crate::exchange::faults::{ErrorStatus, HintFate, NamedIds, StreamFault};
use crate::exchange::names::{EVENTS_PER_POLL, Failure, ends_subscriptions};
use crate::exchange::subscriptions::{Opener, Polled, Subscription, Unusable};
use crate::world::{Event, EventKind, EventSink as _, Mailbox};

/// Subscriptions that one document tells of.
const PER_DOCUMENT: usize = 20;

/// The stream is over.
struct Over;

type Step = Result<(), Over>;

pub(super) struct Run {
    call: Call,
    subscriptions: Vec<Arc<Subscription>>,
    opener: Arc<Opener>,
    pieces: mpsc::Sender<Piece>,
    beats: usize,
}

impl Drop for Run {
    fn drop(&mut self) {
        for subscription in &self.subscriptions {
            subscription.detach(&self.opener);
        }
    }
}

impl Run {
    pub(super) fn new(call: Call, subscriptions: Vec<Arc<Subscription>>, opener: Arc<Opener>, pieces: mpsc::Sender<Piece>) -> Self {
        Self { call, subscriptions, opener, pieces, beats: 0 }
    }

    /// Serves until ConnectionTimeout, or until the client, a fault or a second opener ends it.
    pub(super) async fn serve(mut self, lasting: Duration) {
        let stopping = self.call.shared.stopping.clone();
        let leaving = self.pieces.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = leaving.closed() => {}
            _ = self.tell(lasting) => {}
        }
    }

    async fn tell(&mut self, lasting: Duration) -> Step {
        let anchor = self.call.mailbox.smtp().to_owned();
        let start = Instant::now();
        let plan = self.call.shared.options.faults.stream(&anchor);
        let mut fault = plan.map(|plan| (start + plan.after, plan.fault));
        let wordy = self.call.flavour.wordy;
        self.send(envelopes::status("OK", wordy), Vec::new()).await?;
        let heartbeat = self.call.shared.options.timings.heartbeat;
        let mut next_beat = start + heartbeat;
        loop {
            let strike = fault.as_ref().map_or(start + lasting, |(at, _)| *at);
            // A timer that is due may still lose against a notification that is waiting; a fault comes first.
            if strike <= Instant::now()
                && let Some((_, fault)) = fault.take()
            {
                self.strike(fault).await?;
                continue;
            }
            tokio::select! {
                biased;
                () = sleep_until(strike), if fault.is_some() => {}
                () = sleep_until(start + lasting) => {
                    self.send(envelopes::status("Closed", false), Vec::new()).await?;
                    return Err(Over);
                }
                () = self.opener.wake.notified() => {
                    self.fetch().await?;
                    next_beat = Instant::now() + heartbeat;
                }
                () = sleep_until(next_beat) => {
                    self.beat().await?;
                    next_beat = Instant::now() + heartbeat;
                }
            }
        }
    }

    /// Tells what waits, fifty events of a subscription at a time.
    async fn fetch(&mut self) -> Step {
        if self.opener.taken.load(Ordering::Acquire) {
            let text = "Another connection was opened for the subscription.";
            let failed = Failure::message("ErrorNewEventStreamConnectionOpened", text);
            self.send(envelopes::error(&failed, None, Some("Closed")), Vec::new()).await?;
            return Err(Over);
        }
        loop {
            let (mut list, mut hints, mut told, mut unfinished) = (String::new(), Vec::new(), 0, Vec::new());
            while told < PER_DOCUMENT {
                let Some(id) = self.opener.next_ready() else {
                    break;
                };
                let Some(subscription) = self.subscriptions.iter().find(|s| s.id == id).cloned() else {
                    continue;
                };
                match subscription.poll(EVENTS_PER_POLL) {
                    Polled::Events(events, more) => {
                        if events.is_empty() {
                            continue;
                        }
                        told += 1;
                        envelopes::notification(&mut list, &subscription, &events, more);
                        hints.extend(items_of(&subscription.mailbox, &events));
                        if more {
                            unfinished.push(id);
                        }
                    }
                    Polled::Missed => self.report_missed(&id).await?,
                    Polled::Moved => self.report_dead(&id, unusable(Unusable::Moved)).await?,
                    Polled::Unsubscribed => {
                        let text = "The subscription was ended by an Unsubscribe request.";
                        self.report_dead(&id, Failure::message("ErrorSubscriptionUnsubscribed", text)).await?;
                    }
                }
            }
            if told == 0 {
                return Ok(());
            }
            for id in &unfinished {
                self.opener.ready(id);
            }
            self.send_notifications(envelopes::notifications(&list), hints).await?;
        }
    }

    async fn send_notifications(&self, document: String, hints: Vec<(Arc<Mailbox>, String)>) -> Step {
        match self.call.shared.options.faults.hint() {
            HintFate::Sent => {}
            HintFate::Doubled => self.send(document.clone(), hints.clone()).await?,
            HintFate::Late(by) => tokio::time::sleep(by).await,
        }
        self.send(document, hints).await
    }

    async fn report_missed(&self, id: &str) -> Step {
        let text = "Some events were missed; the subscription lives on.";
        let failed = Failure::message("ErrorMissedNotificationEvents", text);
        self.send(envelopes::error(&failed, Some(&[id]), None), Vec::new()).await
    }

    /// A dead subscription leaves the stream; the stream ends with the last.
    async fn report_dead(&mut self, id: &str, failed: Failure) -> Step {
        self.call.shared.subscriptions.remove(id);
        self.subscriptions.retain(|subscription| subscription.id != id);
        let is_last = self.subscriptions.is_empty();
        let status = is_last.then_some("Closed");
        self.send(envelopes::error(&failed, Some(&[id]), status), Vec::new()).await?;
        if is_last { Err(Over) } else { Ok(()) }
    }

    /// A sign of life, in turn in one of its two forms.
    async fn beat(&mut self) -> Step {
        self.beats += 1;
        let first = self.subscriptions.first();
        let document = match first.filter(|_| self.beats.is_multiple_of(2)) {
            Some(subscription) => envelopes::status_event(subscription),
            None => envelopes::status("OK", self.call.flavour.wordy),
        };
        self.send(document, Vec::new()).await
    }

    /// Sends a document, cut into chunks where the faults want it.
    async fn send(&self, document: String, hints: Vec<(Arc<Mailbox>, String)>) -> Step {
        let cuts = self.call.shared.options.faults.cuts(&document);
        let mut rest = bytes::Bytes::from(document);
        let mut at = 0;
        for cut in cuts {
            let head = rest.split_to(cut - at);
            at = cut;
            self.piece(Piece::Bytes(head, Vec::new())).await?;
            tokio::task::yield_now().await;
        }
        self.piece(Piece::Bytes(rest, hints)).await
    }

    async fn piece(&self, piece: Piece) -> Step {
        self.pieces.send(piece).await.map_err(|_| Over)
    }

    async fn break_off(&self) -> Step {
        self.call.cut.now();
        self.piece(Piece::Break).await?;
        Err(Over)
    }

    async fn strike(&mut self, fault: StreamFault) -> Step {
        match fault {
            StreamFault::Silence => std::future::pending().await,
            StreamFault::Reset => self.break_off().await,
            StreamFault::Close { twice } => {
                self.send(envelopes::status("Closed", false), Vec::new()).await?;
                if twice {
                    self.send(envelopes::status("Closed", false), Vec::new()).await?;
                }
                Err(Over)
            }
            StreamFault::Error { code, ids, status } => self.strike_error(code, ids, status).await,
            StreamFault::Missed => {
                if let Some(subscription) = self.subscriptions.first() {
                    subscription.lose_events();
                }
                Ok(())
            }
            StreamFault::Deaf(lasting) => {
                tokio::time::sleep(lasting).await;
                for subscription in &self.subscriptions {
                    let _ = subscription.poll(usize::MAX);
                }
                self.break_off().await
            }
            StreamFault::MoveMailbox => {
                if let Some(subscription) = self.subscriptions.last() {
                    let _ = self.call.shared.options.world.move_mailbox(subscription.mailbox.smtp());
                }
                Ok(())
            }
            StreamFault::Restart => {
                for subscription in &self.subscriptions {
                    self.call.shared.subscriptions.remove(&subscription.id);
                }
                self.break_off().await
            }
            StreamFault::Burst => {
                if let Some(subscription) = self.subscriptions.first() {
                    subscription.push(&folder_events(&subscription.mailbox));
                }
                Ok(())
            }
        }
    }

    async fn strike_error(&mut self, code: &'static str, ids: NamedIds, status: ErrorStatus) -> Step {
        let all: Vec<String> = self.subscriptions.iter().map(|s| s.id.clone()).collect();
        let dead: &[String] = match ids {
            NamedIds::Absent | NamedIds::Empty if ends_subscriptions(code) => &all,
            NamedIds::Absent | NamedIds::Empty => &[],
            NamedIds::One => all.get(..1).unwrap_or_default(),
            NamedIds::All | NamedIds::Strange => &all,
        };
        for id in dead {
            self.call.shared.subscriptions.remove(id);
        }
        self.subscriptions.retain(|subscription| !dead.contains(&subscription.id));
        let is_silent_about_ids = matches!(ids, NamedIds::Absent | NamedIds::Empty);
        let named: Vec<&str> = match ids {
            NamedIds::Strange => vec!["AAA-"],
            _ => dead.iter().map(String::as_str).filter(|_| !is_silent_about_ids).collect(),
        };
        let connection = match status {
            ErrorStatus::Absent => None,
            ErrorStatus::Ok => Some("OK"),
            ErrorStatus::Closed => Some("Closed"),
        };
        let failed = Failure::message(code, "The subscription must be recreated.");
        let ids = (ids != NamedIds::Absent).then_some(named.as_slice());
        self.send(envelopes::error(&failed, ids, connection), Vec::new()).await?;
        match status {
            ErrorStatus::Closed => Err(Over),
            ErrorStatus::Ok => std::future::pending().await,
            ErrorStatus::Absent => Ok(()),
        }
    }
}

/// The items that appear by these events.
fn items_of(mailbox: &Arc<Mailbox>, events: &[Event]) -> Vec<(Arc<Mailbox>, String)> {
    let mut items: Vec<(Arc<Mailbox>, String)> = Vec::new();
    for event in events {
        let appears = !matches!(event.kind, EventKind::Modified | EventKind::Deleted);
        if let Some(item) = event.item.as_ref().filter(|_| appears)
            && items.iter().all(|(_, known)| *known != item.id)
        {
            items.push((Arc::clone(mailbox), item.id.clone()));
        }
    }
    items
}

/// More events than one poll takes, all of them true.
fn folder_events(mailbox: &Mailbox) -> Vec<Event> {
    let event = Event { kind: EventKind::Modified, at: Timestamp::now(), item: None, old_item: None, unread: Some(mailbox.unread()) };
    vec![event; EVENTS_PER_POLL + 10]
}
