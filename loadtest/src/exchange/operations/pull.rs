//! GetEvents, and the making of pull subscriptions.

use std::fmt::Write as _;
use std::time::Duration;

use super::stream::envelopes::write_event;
use super::{Answer, Call};
use crate::exchange::names::{EVENTS_PER_POLL, Failure};
use crate::exchange::pulls::Pulled;
use crate::exchange::reply::{response, success};
use crate::exchange::request::{GetEvents, OperationName, Subscribe};
use crate::xml::escape;

pub(super) fn subscribe(call: &Call, ask: &Subscribe, minutes: u64) -> Result<Answer, Failure> {
    let options = &call.shared.options;
    let limits = (options.limits.subscriptions, options.limits.queued_events);
    let timeout = Duration::from_secs(60 * minutes);
    let made = call.shared.pulls.make(&call.mailbox, &call.account, ask.events.clone(), limits, timeout);
    let pull = made.ok_or_else(|| super::subscription::too_many(call))?;
    let name = OperationName::Subscribe;
    let content =
        format!("<m:SubscriptionId>{}</m:SubscriptionId><m:Watermark>{}</m:Watermark>", escape(&pull.id), escape(&pull.watermark(0)));
    Ok(Answer::Document(response(name, &success(name, &content)), None))
}

pub(super) fn get_events(call: &Call, ask: &GetEvents) -> Result<String, Failure> {
    let gone = || Failure::message("ErrorSubscriptionNotFound", "The specified subscription was not found.");
    let pull = call.shared.pulls.find(&ask.id, &call.account).ok_or_else(gone)?;
    let (events, more) = match pull.after(&ask.watermark, EVENTS_PER_POLL) {
        Pulled::Events(events, more) => (events, more),
        Pulled::NoWatermark => return Err(Failure::message("ErrorInvalidWatermark", "The watermark is invalid.")),
        Pulled::Missed => {
            call.shared.pulls.remove(&ask.id);
            return Err(Failure::message("ErrorReadEventsFailed", "The events couldn't be read."));
        }
        Pulled::Moved => {
            call.shared.pulls.remove(&ask.id);
            return Err(Failure::message("ErrorInvalidSubscription", "Subscription is invalid. MailboxMoveStarted"));
        }
    };
    let mut list = String::new();
    let folder = pull.mailbox.folder_id();
    for (number, event) in &events {
        write_event(&mut list, event, folder, Some(&pull.watermark(*number)));
    }
    if events.is_empty() {
        let _ = write!(list, "<t:StatusEvent><t:Watermark>{}</t:Watermark></t:StatusEvent>", escape(&ask.watermark));
    }
    let content = format!(
        "<m:Notification><t:SubscriptionId>{}</t:SubscriptionId><t:PreviousWatermark>{}</t:PreviousWatermark><t:MoreEvents>{more}</t:MoreEvents>{list}</m:Notification>",
        escape(&pull.id),
        escape(&ask.watermark)
    );
    let name = OperationName::GetEvents;
    Ok(response(name, &success(name, &content)))
}
