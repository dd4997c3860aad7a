//! Subscribe and Unsubscribe.

use super::{Answer, Call, pull};
use crate::exchange::names::Failure;
use crate::exchange::reply::{response, success};
use crate::exchange::request::{Delivery, OperationName, Subscribe};
use crate::exchange::subscriptions::Unusable;
use crate::xml::escape;

pub(super) fn subscribe(call: &Call, ask: &Subscribe) -> Result<Answer, Failure> {
    if let Some(folder) = &ask.folder {
        call.check_inbox(folder)?;
    }
    if let Delivery::Pull { minutes } = ask.delivery {
        return pull::subscribe(call, ask, minutes);
    }
    let options = &call.shared.options;
    let host = call.back_end.host(&options.groups);
    let made = call.shared.subscriptions.make(
        &call.mailbox,
        &call.account,
        (call.back_end, &host),
        ask.events.clone(),
        (options.limits.subscriptions, options.limits.queued_events),
        options.timings.subscription_lifetime,
    );
    let subscription = made.ok_or_else(|| too_many(call))?;
    // Only the first response sets it: a client that sends it has it.
    let wants_cookie = call.wish.affinity && call.wish.cookie.is_none();
    let cookie = wants_cookie.then(|| call.back_end.cookie(&options.groups));
    let content = format!("<m:SubscriptionId>{}</m:SubscriptionId>", escape(&subscription.id));
    let name = OperationName::Subscribe;
    Ok(Answer::Document(response(name, &success(name, &content)), cookie))
}

/// The refusal of a subscription more than the mailbox may have.
pub(super) fn too_many(call: &Call) -> Failure {
    call.misuse("too-many-subscriptions", call.mailbox.smtp());
    let text =
        "You have exceeded the available subscriptions for your account. Remove unnecessary subscriptions and try your request again.";
    Failure::message("ErrorExceededSubscriptionCount", text)
}

pub(super) fn unsubscribe(call: &Call, id: &str) -> Result<String, Failure> {
    let shared = &call.shared;
    let name = OperationName::Unsubscribe;
    if shared.pulls.find(id, &call.account).is_some() {
        shared.pulls.remove(id);
        return Ok(response(name, &success(name, "")));
    }
    let lifetime = shared.options.timings.subscription_lifetime;
    let found = shared.subscriptions.find(id, &call.account, call.back_end, lifetime);
    match found {
        Ok(subscription) => {
            shared.subscriptions.remove(id);
            // A stream that carries it is told so.
            subscription.unsubscribed();
            Ok(response(name, &success(name, "")))
        }
        Err(why) => Err(unusable(why)),
    }
}

/// The error for a subscription that cannot be used.
pub(super) fn unusable(why: Unusable) -> Failure {
    match why {
        Unusable::NotFound | Unusable::Elsewhere => {
            Failure::message("ErrorSubscriptionNotFound", "The specified subscription was not found.")
        }
        Unusable::NotOwner => Failure::message("ErrorSubscriptionAccessDenied", "You don't have permission to access the subscription."),
        Unusable::Invalid => Failure::message("ErrorInvalidSubscription", "Subscription is invalid."),
        Unusable::Moved => Failure::message("ErrorInvalidSubscription", "Subscription is invalid. MailboxMoveStarted"),
    }
}
