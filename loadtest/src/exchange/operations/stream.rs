//! GetStreamingEvents: one answer that lasts for minutes.

mod body;
pub(super) mod envelopes;
mod run;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::subscription::unusable;
use super::{Answer, Call};
use crate::exchange::faults::NamedIds;
use crate::exchange::names::Failure;
use crate::exchange::reply::{failure, stream_envelope};
use crate::exchange::request::{GetStreamingEvents, OperationName};
use crate::exchange::subscriptions::{Opener, Subscription, Unusable};
use body::PieceBody;
use run::Run;

/// Documents that may wait for a slow reader; then the stream waits.
const PIECES: usize = 8;

/// Opens a stream. Whatever is wrong with the ids is told inside a stream that ends at once, as the server does.
pub(super) fn open(call: Call, ask: GetStreamingEvents) -> Result<Answer, Failure> {
    let limit = call.shared.options.limits.ids_per_stream;
    if ask.ids.len() > limit {
        call.misuse("too-many-subscription-ids", format!("{} in one stream", ask.ids.len()));
        let text = "The request names too many subscriptions.";
        return Err(Failure::message("ErrorInvalidRequest", text));
    }
    let (subscriptions, bad) = resolve(&call, &ask.ids);
    let (pieces, body) = PieceBody::channel(PIECES, Arc::clone(&call.shared.options.witness));
    if let Some((first, _)) = bad.first() {
        let failed = unusable(*first);
        let ids: Vec<&str> = bad.iter().map(|(_, id)| id.as_str()).collect();
        let rest = envelopes::error_rest(Some(&ids), Some("Closed"));
        let message = failure(OperationName::GetStreamingEvents, &failed, &rest);
        // The channel is fresh and has room for this one document.
        let _ = pieces.try_send(body::Piece::document(stream_envelope(&message)));
        return Ok(Answer::Stream(body));
    }
    if let Some(named) = call.shared.options.faults.refuses_others()
        && let Some(document) = refuse_others(&call, &subscriptions, named)
    {
        let _ = pieces.try_send(body::Piece::document(document));
        return Ok(Answer::Stream(body));
    }
    let opener = Arc::new(Opener::default());
    for subscription in &subscriptions {
        subscription.attach(&opener);
    }
    let minutes = u32::try_from(ask.minutes).unwrap_or(30);
    spawn(call, subscriptions, opener, pieces, minutes);
    Ok(Answer::Stream(body))
}

/// The refusal of all subscriptions but those of the mailbox that is impersonated; they are dead from then on.
fn refuse_others(call: &Call, subscriptions: &[Arc<Subscription>], named: NamedIds) -> Option<String> {
    let others = subscriptions.iter().filter(|subscription| !Arc::ptr_eq(&subscription.mailbox, &call.mailbox));
    let mut others: Vec<&str> = others.map(|subscription| subscription.id.as_str()).collect();
    if others.is_empty() {
        return None;
    }
    others.iter().for_each(|id| call.shared.subscriptions.remove(id));
    match named {
        NamedIds::One => others.truncate(1),
        NamedIds::Strange => others = vec!["AAA-"],
        NamedIds::Empty | NamedIds::Absent => others.clear(),
        NamedIds::All => {}
    }
    let ids = (named != NamedIds::Absent).then_some(others.as_slice());
    let rest = envelopes::error_rest(ids, Some("Closed"));
    Some(stream_envelope(&failure(OperationName::GetStreamingEvents, &unusable(Unusable::Invalid), &rest)))
}

fn spawn(call: Call, subscriptions: Vec<Arc<Subscription>>, opener: Arc<Opener>, pieces: mpsc::Sender<body::Piece>, minutes: u32) {
    let shared = Arc::clone(&call.shared);
    let lasting = shared.options.timings.minute.saturating_mul(minutes);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        let run = Run::new(call, subscriptions, opener, pieces);
        run.serve(lasting).await;
        shared.streams.fetch_sub(1, Ordering::Relaxed);
    });
}

/// The usable subscriptions, and those that are not with the reason. A wrong back end is the client's mistake, unless a fault sent
/// the request there.
fn resolve(call: &Call, ids: &[String]) -> (Vec<Arc<Subscription>>, Vec<(Unusable, String)>) {
    let lifetime: Duration = call.shared.options.timings.subscription_lifetime;
    let (mut good, mut bad) = (Vec::with_capacity(ids.len()), Vec::new());
    for id in ids {
        let found = call.shared.subscriptions.find(id, &call.account, call.back_end, lifetime);
        match found {
            Ok(subscription) => good.push(subscription),
            Err(why) => {
                match why {
                    Unusable::Elsewhere if !call.is_astray => {
                        call.misuse("wrong-back-end", "a stream was asked for at a back end that does not hold the subscription");
                    }
                    // The back end that was to hold it lost it.
                    Unusable::Elsewhere => call.shared.subscriptions.remove(id),
                    Unusable::NotOwner => call.misuse("foreign-subscription", "another account's subscription"),
                    Unusable::Invalid => call.misuse("invalid-subscription-id", "the text is no subscription id"),
                    _ => {}
                }
                bad.push((why, id.clone()));
            }
        }
    }
    (good, bad)
}
