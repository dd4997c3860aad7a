//! Finds out which subscriptions of a group are gone when the server says that some are but not which: halves are tried until single ones are left.

use std::sync::Arc;
use std::time::Duration;

use super::error::EwsError;
use super::groups::Snapshot;
use super::response_code::Action;
use super::soap::get_streaming_events as stream;
use super::soap::splitter::Splitter;
use super::streaming::open;
use super::watching::Watching;

/// How many streams are opened for a search; enough for a few bad among 200. What is suspect after that counts as gone.
const MAX_TRIES: u32 = 48;
/// A group in which suspects were searched for so often in a row without a stream that lasts counts as gone as a whole.
const MAX_SEARCHES: u32 = 3;
/// How long one try waits for the first envelope.
const TRY_DEADLINE: Duration = Duration::from_secs(15);

/// What a try says.
enum Tried {
    Good,
    Bad(Vec<Box<str>>),
    Unknown,
}

/// The subscriptions of the group that are gone. Empty if none can be told, or if the server does not answer just now.
pub async fn find(watching: &Watching, snapshot: &Snapshot, searches: u32) -> Vec<Arc<str>> {
    if searches > MAX_SEARCHES {
        return snapshot.subscriptions.clone();
    }
    let mut gone = Vec::new();
    let mut left = vec![snapshot.subscriptions.clone()];
    let mut tries = 0;
    while let Some(some) = left.pop() {
        if tries >= MAX_TRIES {
            gone.extend(some);
            continue;
        }
        tries += 1;
        match try_some(watching, snapshot, &some).await {
            Tried::Good => {}
            Tried::Unknown => return gone,
            Tried::Bad(named) if !named.is_empty() => {
                let (bad, rest): (Vec<_>, Vec<_>) = some.into_iter().partition(|id| named.iter().any(|name| **name == **id));
                gone.extend(bad);
                if !rest.is_empty() {
                    left.push(rest);
                }
            }
            Tried::Bad(_) if some.len() == 1 => gone.extend(some),
            Tried::Bad(_) => {
                let (one, other) = some.split_at(some.len() / 2);
                left.extend([one.to_vec(), other.to_vec()]);
            }
        }
    }
    gone
}

/// Opens a stream for some of the subscriptions and reads its first envelope.
async fn try_some(watching: &Watching, snapshot: &Snapshot, some: &[Arc<str>]) -> Tried {
    let said = match tokio::time::timeout(TRY_DEADLINE, first_envelope(watching, snapshot, some)).await {
        Ok(Ok(said)) => said,
        Ok(Err(EwsError::Fault(fault))) => stream::StreamEnvelope { fault: Some(fault), ..stream::StreamEnvelope::default() },
        Ok(Err(_)) | Err(_) => return Tried::Unknown,
    };
    match said.fault.map(|fault| fault.action) {
        None => Tried::Good,
        Some(Action::Resubscribe | Action::Unsubscribed | Action::ResubscribeElsewhere | Action::Rediscover | Action::ItemGone) => {
            Tried::Bad(said.error_ids)
        }
        Some(_) => Tried::Unknown,
    }
}

async fn first_envelope(watching: &Watching, snapshot: &Snapshot, some: &[Arc<str>]) -> Result<stream::StreamEnvelope, EwsError> {
    let mut response = open(watching, snapshot, some, 1).await?;
    let mut splitter = Splitter::new(watching.client.settings().answer_limit.len());
    loop {
        let chunk = response.chunk().await?;
        let Some(chunk) = chunk else { return Err(EwsError::Transport("the stream ended before its first envelope".into())) };
        splitter.push(&chunk);
        if let Some(envelope) = splitter.next_envelope().map_err(|error| EwsError::Transport(error.to_string().into()))? {
            return Ok(stream::read(&envelope)?);
        }
    }
}
