//! The rules of what is announced, row by row: collecting, fanning out, sending, the cut-off.

mod announced;
mod commits;
mod cutoff;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Authority, DeliveryId, DeviceId, EventKey, Fence, Generation, ItemId, MailboxId, Session, SyncSeq, SyncState, TenantId};
use crate::ports::device_store::{DeviceNow, Recipient};
use crate::ports::mail_source::ItemFacts;
use crate::ports::mailbox_store::MailboxState;
use crate::ports::push_sender::{Channel, Provider, PushToken};
use crate::time::{Monotonic, Timestamp};

use super::message::{Moment, Order, Work};

const MAILBOX: MailboxId = MailboxId(1);
const AUTHORITY: Authority = Authority { fence: Fence(1), session: Session(1) };
/// The wall clock in these tests.
const NOON: Timestamp = Timestamp(1_767_614_400_000_000);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn item(number: u32) -> ItemId {
    ItemId(format!("item {number}").into())
}

fn event(number: u32) -> EventKey {
    EventKey::of_item(&item(number))
}

/// An unread mail received at that time.
fn mail(number: u32, received_at: Timestamp) -> ItemFacts {
    ItemFacts { item: item(number), received_at, read: false, draft: false, mail_class: true }
}

/// A seeded mailbox, watched for two days, that announced mail of an hour and a half ago last.
fn row() -> MailboxState {
    MailboxState {
        sync_state: Some(SyncState("one".into())),
        sync_seq: SyncSeq(7),
        seeded: true,
        badge_dirty: false,
        watch_since: NOON - seconds(2 * 86_400),
        announced_until: NOON - seconds(5_400),
    }
}

fn channel() -> Channel {
    Channel { tenant: TenantId(Arc::from("t")), provider: Provider::Apns, app: Arc::from("app") }
}

fn recipient(device: i64, known: &[EventKey]) -> Recipient {
    Recipient { device: DeviceId(device), generation: Generation(1), channel: channel(), known: known.to_vec() }
}

fn device(number: i64) -> DeviceNow {
    DeviceNow {
        device: DeviceId(number),
        generation: Generation(1),
        channel: channel(),
        token: PushToken("token".into()),
        last_activity: NOON,
        cutoff: seconds(43_200),
    }
}

fn order(work: Work) -> Order {
    Order { work, hinted_at: None, unread: Some(3), badge_now: false, recount: false, hold: true }
}

/// So many milliseconds after the beginning, the gate open.
fn moment(millis: u64) -> Moment {
    let after = Duration::from_millis(millis);
    Moment { at: Monotonic(1_000_000_000) + after, now: NOON + after, gate_open: true }
}

fn id(number: i64) -> DeliveryId {
    DeliveryId(number)
}
