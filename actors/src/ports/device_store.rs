//! The port to registered devices as the delivery of pushes sees them.
//!
//! Contract. (1) `devices_now` is read at the moment of sending and never cached. (2) `device_forget` removes a row only when its generation is the one that the
//! verdict is about and, if the provider named a time, the registration is not newer than it; its pending rows end in the same transaction.
//! (3) Forgetting the last device of a mailbox ends its watch in the same transaction (`change_seq` moves).

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{DeviceId, EventKey, Generation, MailboxId};
use crate::ports::error::StoreError;
use crate::ports::push_sender::{Channel, PushToken};
use crate::time::Timestamp;

/// A device that a mail is announced to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Which device.
    pub device: DeviceId,
    /// Its registration.
    pub generation: Generation,
    /// Where room for its pushes is asked for.
    pub channel: Channel,
    /// Those of the asked event keys that have a row for it already.
    pub known: Vec<EventKey>,
}

/// A device as it is right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNow {
    /// Which device.
    pub device: DeviceId,
    /// Its registration.
    pub generation: Generation,
    /// Where pushes go.
    pub channel: Channel,
    /// To which token.
    pub token: PushToken,
    /// When it was last unlocked and used (registering counts).
    pub last_activity: Timestamp,
    /// `pushDowngradeCutoffSec`: for how long after that details may be shown; zero: never.
    pub cutoff: Duration,
}

/// The port itself.
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// All live devices of the mailbox (at most 10) and which of the events each has a row for. At most 64 events.
    async fn recipients(&self, mailbox: MailboxId, events: &[EventKey]) -> Result<Vec<Recipient>, StoreError>;

    /// The devices as they are now; one that is gone is missing from the answer. At most 1,000.
    async fn devices_now(&self, devices: &[DeviceId]) -> Result<Vec<DeviceNow>, StoreError>;

    /// Forgets a device for a definite reason; `false` when a newer registration stands.
    async fn device_forget(&self, device: DeviceId, generation: Generation, gone_since: Option<Timestamp>) -> Result<bool, StoreError>;
}
