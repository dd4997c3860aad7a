//! One push on its way out: past the gate, to the provider, and its verdict past the breaker.

use super::breaker::Whose;
use super::message::code;
use crate::context::Context;
use crate::ids::DeviceId;
use crate::mailbox::journal::{Entry, Journal};
use crate::ports::delivery_store::{Mark, Settled};
use crate::ports::push_sender::{Channel, Permit, Push, Verdict};
use crate::telemetry::metrics::{self, Reason, Shown, VerdictClass};
use crate::time::{Monotonic, Timestamp};

/// The reason of rows whose device is not registered any more.
pub(super) const DEVICE_REMOVED: &str = "device_gone";

/// A push to a device that is under way.
struct UnderWay<'a> {
    context: &'a Context,
    channel: &'a Channel,
    device: DeviceId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.context.push_ended(self.channel, self.device);
    }
}

/// Sends one push if the gate still lets it out, and passes the verdict by the breaker.
pub(super) async fn transmit(
    context: &Context,
    journal: &Journal,
    whose: Whose,
    permit: Permit,
    push: Push,
    (hinted_at, received_at): (Option<Monotonic>, Option<Timestamp>),
) -> Verdict {
    let (channel, token, shown) = (push.channel.clone(), push.token.clone(), Shown::of(&push.content));
    if !context.gate.lets_pushes_out() {
        return Verdict::Later { after: None, reason: code("gate_closed") };
    }
    context.push_begins(&channel, whose.device);
    let _under_way = UnderWay { context, channel: &channel, device: whose.device };
    let verdict = context.ports.push.send(permit, push).await;
    let moment = context.moment();
    metrics::push_answered(channel.provider, shown, VerdictClass::of(&verdict), Reason::of(&verdict), 1);
    if verdict == Verdict::Accepted {
        hinted_at.into_iter().for_each(|at| metrics::push_latency(channel.provider, moment.at.since(at).as_secs_f64()));
        received_at.into_iter().for_each(|at| metrics::push_age(channel.provider, moment.now.since(at).as_secs_f64()));
    }
    let (class, reason) = (told(&verdict), verdict.reason());
    let judged = context.judge(&channel, (whose, &token), moment.at, verdict);
    // What the breaker does not believe is tried again: it is counted when it is believed.
    match &judged {
        Verdict::DeviceGone { .. } => metrics::dead_letters(metrics::Dead::DeviceGone, 1),
        Verdict::Refused { .. } | Verdict::Undeliverable { .. } => metrics::dead_letters(metrics::Dead::Refused, 1),
        _ => {}
    }
    let doubted = match &judged {
        Verdict::Later { after: Some(after), .. } if matches!(class, "device gone" | "refused") => Some(moment.now + *after),
        _ => None,
    };
    journal.note(moment.now, Entry::Answered { provider: channel.provider, verdict: class, reason, doubted });
    judged
}

/// Counts what is given up or was not needed any more.
pub(super) fn count_marks(marks: &[Mark]) {
    for mark in marks {
        match mark.settled {
            Settled::Superseded if &*mark.reason == DEVICE_REMOVED => metrics::superseded(metrics::Superseded::DeviceRemoved, 1),
            Settled::Superseded => metrics::superseded(metrics::Superseded::Gone, 1),
            Settled::Dead if &*mark.reason == "expired" => metrics::dead_letters(metrics::Dead::Expired, 1),
            Settled::Dead | Settled::Sent => {}
        }
    }
}

fn told(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Later { .. } => "later",
        Verdict::Unknown { .. } => "no answer",
        Verdict::DeviceGone { .. } => "device gone",
        Verdict::Refused { .. } | Verdict::Undeliverable { .. } => "refused",
        Verdict::Credentials { .. } => "credentials",
    }
}
