//! Subscribe and Unsubscribe.

use super::{Answer, Call};
use crate::exchange::names::Failure;
use crate::exchange::reply::{response, success};
use crate::exchange::request::{OperationName, Subscribe};
use crate::exchange::subscriptions::Unusable;
use crate::xml::escape;

pub(super) fn subscribe(call: &Call, ask: &Subscribe) -> Result<Answer, Failure> {
    if let Some(folder) = &ask.folder {
        call.check_inbox(folder)?;
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
    let Some(subscription) = made else {
        call.misuse("too-many-subscriptions", call.mailbox.smtp());
        let text =
            "You have exceeded the available subscriptions for your account. Remove unnecessary subscriptions and try your request again.";
        return Err(Failure::message("ErrorExceededSubscriptionCount", text));
    };
    // Only the first response sets it: a client that sends it has it.
    let wants_cookie = call.wish.affinity && call.wish.cookie.is_none();
    let cookie = wants_cookie.then(|| call.back_end.cookie(&options.groups));
    let content = format!("<m:SubscriptionId>{}</m:SubscriptionId>", escape(&subscription.id));
    let name = OperationName::Subscribe;
    Ok(Answer::Document(response(name, &success(name, &content)), cookie))
}

pub(super) fn unsubscribe(call: &Call, id: &str) -> Result<String, Failure> {
    let shared = &call.shared;
    let lifetime = shared.options.timings.subscription_lifetime;
    let found = shared.subscriptions.find(id, &call.account, call.back_end, lifetime);
    match found {
        Ok(_) => {
            shared.subscriptions.remove(id);
            let name = OperationName::Unsubscribe;
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
