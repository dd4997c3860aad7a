//! Which items are new mail, and which rows announce them to which devices.

use std::time::Duration;

use uuid::Uuid;

use crate::ids::{DeviceId, EventKey, ItemId, MailboxId, SyncSeq};
use crate::ports::device_store::Recipient;
use crate::ports::mail_source::ItemFacts;
use crate::ports::mailbox_store::{DeliveryKind, MailboxState, NewDelivery};
use crate::settings::{ROWS_PER_COLLECTION, Settings};
use crate::time::Timestamp;

use super::send;

/// Namespace of push ids: UUIDv5 of the DNS name `push.postrider`, worked out once.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x782e_c47a_0fdd_56f2_9d64_94a8_7dcc_b1db);

/// The `apns-id` of a push: the same in every repeat, on every node.
#[must_use]
pub fn push_id(mailbox: MailboxId, device: DeviceId, group: EventKey) -> Uuid {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&mailbox.0.to_be_bytes());
    name[8..16].copy_from_slice(&device.0.to_be_bytes());
    name[16..].copy_from_slice(&group.0);
    Uuid::new_v5(&NAMESPACE, &name)
}

/// A mail that is to be announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// Its key.
    pub event: EventKey,
    /// Its item id.
    pub item: ItemId,
    /// When it was received.
    pub received_at: Timestamp,
}

/// Whether a created item is new mail (cluster protocol, section 7 rule 1), apart from whether it has a row already.
///
/// Moves into the inbox, undo, import, restore and mailbox moves look like creations and change ids; the receive time keeps them quiet.
#[must_use]
pub fn is_new_mail(item: &ItemFacts, row: &MailboxState, now: Timestamp, settings: &Settings) -> bool {
    item.mail_class
        && !item.read
        && !item.draft
        && item.received_at >= row.watch_since - watch_slack()
        && item.received_at >= row.announced_until - settings.lateness
        && now.since(item.received_at) < settings.max_age
}

/// Exchange tells receive times in whole seconds, rounded down: a mail of the second in which the watch began is after it.
fn watch_slack() -> Duration {
    Duration::from_secs(1)
}

/// The new mails among created items, newest first, each once.
#[must_use]
pub fn new_mails(items: &[ItemFacts], row: &MailboxState, now: Timestamp, settings: &Settings) -> Vec<NewMail> {
    let mut mails: Vec<NewMail> = items
        .iter()
        .filter(|item| is_new_mail(item, row, now, settings))
        .map(|item| NewMail { event: EventKey::of_item(&item.item), item: item.item.clone(), received_at: item.received_at })
        .collect();
    mails.sort_by(|a, b| b.received_at.cmp(&a.received_at).then(a.event.cmp(&b.event)));
    mails.dedup_by_key(|mail| mail.event);
    mails
}

/// The rows for one device: one per mail that it has no row for among the newest [`ROWS_PER_COLLECTION`]; the oldest of them counts what is older still.
/// Should the device know the oldest of those already, a burst is read again whose tail was counted the first time.
#[must_use]
pub fn mail_rows(mails: &[NewMail], recipient: &Recipient, now: Timestamp, settings: &Settings) -> Vec<NewDelivery> {
    let shown = &mails[..mails.len().min(ROWS_PER_COLLECTION)];
    let fresh = |mail: &&NewMail| !recipient.known.contains(&mail.event);
    let beyond = if shown.last().as_ref().is_some_and(fresh) { mails.len() - shown.len() } else { 0 };
    let Some(newest) = shown.iter().find(fresh) else { return Vec::new() };
    let mut rows: Vec<NewDelivery> = shown
        .iter()
        .filter(fresh)
        .map(|mail| NewDelivery {
            device: recipient.device,
            generation: recipient.generation,
            event: mail.event,
            group: newest.event,
            kind: DeliveryKind::Mail,
            item: Some(mail.item.clone()),
            received_at: mail.received_at,
            count: 1,
            next_at: now + in_hand(settings),
            expires_at: now + settings.push_ttl,
        })
        .collect();
    if let Some(oldest) = rows.last_mut() {
        oldest.count += u32::try_from(beyond).unwrap_or(u32::MAX - 1);
    }
    rows
}

/// The row that tells one device a new badge.
#[must_use]
pub fn badge_row(seq: SyncSeq, recipient: &Recipient, now: Timestamp, settings: &Settings) -> NewDelivery {
    let event = EventKey::of_badge(seq);
    NewDelivery {
        device: recipient.device,
        generation: recipient.generation,
        event,
        group: event,
        kind: DeliveryKind::Badge,
        item: None,
        received_at: now,
        count: 0,
        next_at: now + in_hand(settings),
        expires_at: now + settings.push_ttl.min(Duration::from_secs(3_600)),
    }
}

/// How long a row is left to the delivery that committed it before the sweep takes it up: for as long as that may live, from here on.
fn in_hand(settings: &Settings) -> Duration {
    settings.collect_deadline + send::longest(settings)
}
