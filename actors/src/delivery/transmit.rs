//! One push on its way out: past the gate, to the provider, and its verdict past the breaker.

use std::sync::Arc;

use super::message::code;
use crate::context::Context;
use crate::mailbox::journal::{Entry, Journal};
use crate::ports::delivery_store::{Mark, Settled};
use crate::ports::push_sender::{Permit, Push, Verdict};
use crate::telemetry::metrics::{self, Reason, Shown, VerdictClass};
use crate::time::{Monotonic, Timestamp};

/// Sends one push if the gate still lets it out, and passes the verdict by the breaker.
pub(super) async fn transmit(
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

/// Counts what is given up or was not needed any more.
pub(super) fn count_marks(marks: &[Mark]) {
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
