//! The mailbox rows in memory: the commit that moves sync states together with delivery rows.

use async_trait::async_trait;

use super::{Call, CommitRecord, DeliveryRow, MemoryStore, Model};
use crate::ids::{Authority, DeliveryId, MailboxId, SyncSeq};
use crate::ports::error::StoreError;
use crate::ports::mail_source::SubscriptionRecord;
use crate::ports::mailbox_store::{Commit, Committed, Inserted, MailboxState, MailboxStore, NewDelivery};
use crate::time::Timestamp;

#[async_trait]
impl MailboxStore for MemoryStore {
    async fn mailbox_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<MailboxState>, StoreError> {
        self.call(Call::MailboxLoad, |model, _| {
            model.owned(mailbox, authority).map(|row| MailboxState {
                sync_state: row.sync_state.clone(),
                sync_seq: row.sync_seq,
                seeded: row.seeded,
                badge_dirty: row.badge_dirty,
                watch_since: row.watch_since,
                announced_until: row.announced_until,
            })
        })
    }

    async fn sync_state_commit(&self, batch: &[Commit]) -> Result<Committed, StoreError> {
        self.call(Call::SyncStateCommit, |model, now| {
            let mut entries: Vec<&Commit> = batch.iter().collect();
            entries.sort_by_key(|entry| entry.mailbox);
            let mut committed = Committed::default();
            for entry in entries {
                commit(model, entry, now, &mut committed);
            }
            committed
        })
    }

    async fn subscription_load(&self, mailbox: MailboxId, authority: Authority) -> Result<Option<SubscriptionRecord>, StoreError> {
        self.call(Call::SubscriptionLoad, |model, _| model.owned(mailbox, authority).and_then(|row| row.subscription.clone()))
    }

    async fn subscription_set(
        &self,
        mailbox: MailboxId,
        authority: Authority,
        record: Option<&SubscriptionRecord>,
    ) -> Result<bool, StoreError> {
        self.call(Call::SubscriptionSet, |model, _| model.owned(mailbox, authority).map(|row| row.subscription = record.cloned()).is_some())
    }
}

fn commit(model: &mut Model, entry: &Commit, now: Timestamp, committed: &mut Committed) {
    let Some(row) = model.owned(entry.mailbox, entry.authority).filter(|row| row.sync_seq == entry.sync_seq) else { return };
    row.sync_state.clone_from(&entry.sync_state);
    row.sync_seq = SyncSeq(entry.sync_seq.0 + 1);
    row.seeded = entry.seeded;
    row.badge_dirty = entry.badge_dirty;
    row.announced_until = entry.announced_until;
    committed.matched.push(entry.mailbox);
    let mut rows = Vec::new();
    for new in &entry.rows {
        if let Some(id) = insert(model, entry, new, now) {
            rows.push(id);
            committed.inserted.push(Inserted { id, mailbox: entry.mailbox, device: new.device, event: new.event });
        }
    }
    let sync_seq = SyncSeq(entry.sync_seq.0 + 1);
    model.history.push(CommitRecord { at: now, mailbox: entry.mailbox, authority: entry.authority, sync_seq, rows });
}

fn insert(model: &mut Model, entry: &Commit, new: &NewDelivery, now: Timestamp) -> Option<DeliveryId> {
    let device = model.devices.get(&new.device)?;
    if device.mailbox != entry.mailbox {
        return None;
    }
    let key = (entry.mailbox, new.device, new.event);
    if model.events.contains_key(&key) {
        return None;
    }
    let id = DeliveryId(model.next_id());
    model.events.insert(key, id);
    let row = DeliveryRow {
        mailbox: entry.mailbox,
        device: new.device,
        generation: new.generation,
        event: new.event,
        group: new.group,
        kind: new.kind,
        item: new.item.clone(),
        received_at: new.received_at,
        count: new.count,
        fence: entry.authority.fence,
        settled: None,
        reason: None,
        attempts: 0,
        refused: false,
        next_at: new.next_at,
        expires_at: new.expires_at,
        created_at: now,
        settled_at: None,
    };
    model.deliveries.insert(id, row);
    Some(id)
}
