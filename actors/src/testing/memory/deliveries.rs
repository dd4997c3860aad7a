//! The delivery rows in memory after they were committed: verdicts, retries, the sweep, retention.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{Call, MemoryStore};
use crate::ids::{Authority, DeliveryId, MailboxId, Session};
use crate::ports::delivery_store::{DeliveryStore, Mark, Pending, Retry};
use crate::ports::error::StoreError;
use crate::time::Timestamp;

#[async_trait]
impl DeliveryStore for MemoryStore {
    async fn pending(&self, mailbox: MailboxId, authority: Authority) -> Result<Vec<Pending>, StoreError> {
        self.call(Call::Pending, |model, _| {
            if model.owned(mailbox, authority).is_none() {
                return Vec::new();
            }
            let rows = model.deliveries.iter().filter(|(_, row)| row.mailbox == mailbox && row.settled.is_none());
            rows.take(1024).map(|(id, row)| pending(*id, row)).collect()
        })
    }

    async fn mark(&self, marks: &[Mark]) -> Result<(), StoreError> {
        self.call(Call::Mark, |model, now| {
            for mark in marks {
                if let Some(row) = model.deliveries.get_mut(&mark.id).filter(|row| row.settled.is_none()) {
                    row.settle(mark.settled, mark.reason.clone(), now);
                }
            }
        })
    }

    async fn schedule(&self, retries: &[Retry]) -> Result<(), StoreError> {
        self.call(Call::Schedule, |model, _| {
            for retry in retries {
                if model.owned(retry.mailbox, retry.authority).is_none() {
                    continue;
                }
                let row = model.deliveries.get_mut(&retry.id);
                if let Some(row) = row.filter(|row| row.mailbox == retry.mailbox && row.settled.is_none()) {
                    row.refused = retry.refused;
                    row.attempts += u32::from(retry.ended);
                    row.group = retry.group;
                    row.next_at = retry.next_at;
                    row.reason = Some(retry.reason.clone());
                }
            }
        })
    }

    async fn stranded(&self, session: Session, now: Timestamp, limit: u32) -> Result<Vec<MailboxId>, StoreError> {
        self.call(Call::Stranded, |model, _| {
            let mut due: BTreeMap<MailboxId, Timestamp> = BTreeMap::new();
            for row in model.deliveries.values().filter(|row| row.settled.is_none() && row.next_at <= now) {
                let at = due.entry(row.mailbox).or_insert(row.next_at);
                *at = row.next_at.min(*at);
            }
            let ours = |mailbox: &MailboxId| {
                let shard = model.mailboxes.get(mailbox).and_then(|row| model.shards.get(&row.shard));
                shard.is_some_and(|shard| shard.owner == Some(session))
            };
            let mut found: Vec<(Timestamp, MailboxId)> =
                due.into_iter().filter(|(mailbox, _)| ours(mailbox)).map(|(mailbox, at)| (at, mailbox)).collect();
            found.sort_unstable();
            found.into_iter().take(limit as usize).map(|(_, mailbox)| mailbox).collect()
        })
    }

    async fn retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.call(Call::Retain, |model, _| {
            let old = model.deliveries.iter().filter(|(_, row)| row.settled_at.is_some_and(|at| at < before));
            let old: Vec<DeliveryId> = old.map(|(id, _)| *id).take(limit as usize).collect();
            for id in &old {
                if let Some(row) = model.deliveries.remove(id) {
                    model.events.remove(&(row.mailbox, row.device, row.event));
                }
            }
            u32::try_from(old.len()).unwrap_or(u32::MAX)
        })
    }
}

fn pending(id: DeliveryId, row: &super::DeliveryRow) -> Pending {
    Pending {
        id,
        device: row.device,
        generation: row.generation,
        event: row.event,
        group: row.group,
        kind: row.kind,
        item: row.item.clone(),
        received_at: row.received_at,
        count: row.count,
        attempts: row.attempts,
        refused: row.refused,
        next_at: row.next_at,
        expires_at: row.expires_at,
    }
}
