//! Pushes to be made: rows of one device under one group; and how rows that were left behind collapse.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{DeliveryId, DeviceId, EventKey, Generation, ItemId};
use crate::ports::delivery_store::Pending;
use crate::ports::device_store::Recipient;
use crate::ports::mailbox_store::{DeliveryKind, Inserted, NewDelivery};
use crate::ports::push_sender::Channel;
use crate::time::Timestamp;

/// One row of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub id: DeliveryId,
    /// What it is about.
    pub event: EventKey,
    /// Which mail; none for a badge.
    pub item: Option<ItemId>,
    /// When the mail was received.
    pub received_at: Timestamp,
    /// How many mails it stands for.
    pub count: u32,
}

/// One push to one device: rows with one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub device: DeviceId,
    /// The registration that a verdict is about: the one seen last.
    pub generation: Generation,
    /// Where room is asked for; none: the device is gone.
    pub channel: Option<Channel>,
    /// Mail or badge.
    pub kind: DeliveryKind,
    /// What its ids derive from.
    pub group: EventKey,
    /// Newest first.
    pub rows: Vec<Row>,
    /// Answered tries so far.
    pub attempts: u32,
    /// Whether each of them was definitely not taken.
    pub refused: bool,
    /// Not worth sending after.
    pub expires_at: Timestamp,
}

impl Outgoing {
    /// The pushes of rows that were just committed: those that are new, by device.
    #[must_use]
    pub fn from_inserted(rows: &[NewDelivery], inserted: &[Inserted], recipients: &[Recipient]) -> Vec<Self> {
        let ids: BTreeMap<(DeviceId, EventKey), DeliveryId> = inserted.iter().map(|row| ((row.device, row.event), row.id)).collect();
        let mut pushes: Vec<Self> = Vec::new();
        for row in rows {
            let Some(&id) = ids.get(&(row.device, row.event)) else { continue };
            let line = Row { id, event: row.event, item: row.item.clone(), received_at: row.received_at, count: row.count };
            match pushes.last_mut() {
                Some(push) if push.device == row.device && push.group == row.group => push.rows.push(line),
                _ => pushes.push(Self {
                    device: row.device,
                    generation: row.generation,
                    channel: channel_of(recipients, row.device),
                    kind: row.kind,
                    group: row.group,
                    rows: vec![line],
                    attempts: 0,
                    refused: true,
                    expires_at: row.expires_at,
                }),
            }
        }
        pushes
    }

    /// The pushes of rows that were left behind and are due. Rows whose tries were definitely not taken collapse into the newest of their device, due or
    /// not: they wait for the same provider. A row that may have been taken keeps its ids.
    #[must_use]
    pub fn from_pending(rows: &[Pending], recipients: &[Recipient], now: Timestamp) -> Vec<Self> {
        let mut groups: BTreeMap<(DeviceId, EventKey), Self> = BTreeMap::new();
        let mut due: BTreeSet<(DeviceId, EventKey)> = BTreeSet::new();
        for row in rows {
            let key = (row.device, row.group);
            let push = groups.entry(key).or_insert_with(|| Self {
                device: row.device,
                generation: row.generation,
                channel: channel_of(recipients, row.device),
                kind: row.kind,
                group: row.group,
                rows: Vec::new(),
                attempts: row.attempts,
                refused: true,
                expires_at: row.expires_at,
            });
            if row.attempts == 0 || row.next_at <= now {
                due.insert(key);
            }
            push.attempts = push.attempts.max(row.attempts);
            push.refused &= row.refused && row.attempts > 0;
            push.expires_at = push.expires_at.max(row.expires_at);
            push.rows.push(Row { id: row.id, event: row.event, item: row.item.clone(), received_at: row.received_at, count: row.count });
        }
        let (due, others): (Vec<Self>, Vec<Self>) = groups.into_values().partition(|push| due.contains(&(push.device, push.group)));
        let along: Vec<Self> = others.into_iter().filter(|push| due.iter().any(|other| other.collapses_with(push))).collect();
        let mut pushes: Vec<Self> = Vec::new();
        for mut push in due.into_iter().chain(along) {
            push.rows.sort_by_key(|row| std::cmp::Reverse((row.received_at, row.event)));
            match pushes.iter_mut().find(|other| other.collapses_with(&push)) {
                Some(other) => other.absorb(push),
                None => pushes.push(push),
            }
        }
        pushes.sort_by_key(|push| push.rows.first().map(|row| row.received_at));
        pushes
    }

    fn collapses_with(&self, other: &Self) -> bool {
        self.refused && other.refused && self.device == other.device && self.generation == other.generation && self.kind == other.kind
    }

    fn absorb(&mut self, mut other: Self) {
        let newest = |push: &Self| push.rows.first().map(|row| row.received_at);
        if newest(&other) > newest(self) {
            std::mem::swap(self, &mut other);
        }
        self.rows.append(&mut other.rows);
        self.rows.sort_by_key(|row| std::cmp::Reverse((row.received_at, row.event)));
        self.attempts = self.attempts.max(other.attempts);
    }
}

fn channel_of(recipients: &[Recipient], device: DeviceId) -> Option<Channel> {
    recipients.iter().find(|recipient| recipient.device == device).map(|recipient| recipient.channel.clone())
}
