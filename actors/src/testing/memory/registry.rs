//! What people and phones change, in memory: mailboxes, devices, keys, the audit trail.

use std::sync::Arc;

use async_trait::async_trait;

use super::model::KEPT;
use super::{Call, DeviceRow, MailboxRow, MemoryStore, Model};
use crate::ids::{DeviceId, Generation, MailboxId, ShardId, Smtp, SyncSeq, TenantId};
use crate::ports::delivery_store::Settled;
use crate::ports::error::StoreError;
use crate::ports::mailbox_store::DeliveryKind;
use crate::ports::registry_change::{AuditAsk, Change, Changed, Of, Signed};
use crate::ports::registry_store::{
    ApiKey, AuditLine, DeliveryView, DeviceView, MAX_DEVICES, MailboxView, Registered, Registration, RegistryStore,
};
use crate::time::Timestamp;

#[async_trait]
impl RegistryStore for MemoryStore {
    async fn change(&self, change: Change<'_>, signed: Option<&Signed>) -> Result<Changed, StoreError> {
        self.call(Call::Registry, |model, now| {
            let (changed, mailbox, token_left) = apply(model, &change, now)?;
            if let Some(signed) = signed {
                model.audit.extend(signed.lines(&changed, mailbox, token_left));
            }
            Ok(changed)
        })?
    }

    async fn device_list(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Vec<DeviceView>>, StoreError> {
        self.call(Call::Registry, |model, _| {
            let mailbox = find(model, tenant, smtp)?;
            Some(model.devices_of(mailbox).map(|(id, row)| device_view(*id, row)).collect())
        })
    }

    async fn mailbox_list(&self, tenant: &TenantId, after: Option<&Smtp>, limit: u32) -> Result<Vec<MailboxView>, StoreError> {
        self.call(Call::Registry, |model, _| {
            let of = model.addresses.iter().filter(|((of, smtp), _)| of == tenant && after.is_none_or(|after| **smtp > *after));
            of.take(limit.min(1000) as usize).filter_map(|(_, id)| view(model, *id)).collect()
        })
    }

    async fn mailbox_find(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<MailboxView>, StoreError> {
        self.call(Call::Registry, |model, _| find(model, tenant, smtp).and_then(|mailbox| view(model, mailbox)))
    }

    async fn delivery_list(&self, mailbox: MailboxId, limit: u32) -> Result<Vec<DeliveryView>, StoreError> {
        self.call(Call::Registry, |model, _| {
            let rows = model.deliveries.values().rev().filter(|row| row.mailbox == mailbox);
            rows.take(limit as usize).map(|row| delivery_view(model, row)).collect()
        })
    }

    async fn mailbox_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.call(Call::Registry, |model, _| {
            let old = model.mailboxes.iter().filter(|(_, row)| row.unwatched_at.is_some_and(|at| at < before));
            let old: Vec<MailboxId> = old.map(|(id, _)| *id).take(limit as usize).collect();
            for mailbox in &old {
                model.mailbox_end(*mailbox);
            }
            u32::try_from(old.len()).unwrap_or(u32::MAX)
        })
    }

    async fn key_find(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        self.call(Call::Registry, |model, _| model.keys.get(id).cloned())
    }

    async fn key_list(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.call(Call::Registry, |model, _| model.keys.values().cloned().collect())
    }

    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        self.call(Call::Registry, |model, _| model.audit.push(line.clone()))
    }

    async fn audit_list(&self, ask: &AuditAsk) -> Result<Vec<(i64, AuditLine)>, StoreError> {
        self.call(Call::Registry, |model, _| {
            let wanted = |number: i64, line: &AuditLine| {
                let has = |text: &str, part: &Option<String>| part.as_ref().is_none_or(|part| text.contains(part.as_str()));
                (ask.tenants.is_empty() || ask.tenants.contains(&line.tenant))
                    && ask.before.is_none_or(|before| number < before)
                    && ask.since.is_none_or(|since| line.at >= since)
                    && ask.until.is_none_or(|until| line.at < until)
                    && ask.who.as_ref().is_none_or(|who| *who == line.who)
                    && has(&line.what, &ask.what)
                    && has(&line.object, &ask.object)
            };
            let numbered = model.audit.iter().enumerate().map(|(place, line)| (model.audit_gone + place as i64 + 1, line));
            let wanted = numbered.rev().filter(|(number, line)| wanted(*number, line));
            wanted.take(ask.limit as usize).map(|(number, line)| (number, line.clone())).collect()
        })
    }

    async fn audit_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.call(Call::Registry, |model, _| {
            let old = model.audit.iter().take(limit as usize).take_while(|line| line.at < before).count();
            model.audit.drain(..old);
            model.audit_gone += old as i64;
            u32::try_from(old).unwrap_or(u32::MAX)
        })
    }
}

/// Carries a change out; says which mailbox it is about, and which one a token left.
fn apply(model: &mut Model, change: &Change<'_>, now: Timestamp) -> Result<(Changed, Option<MailboxId>, Option<MailboxId>), StoreError> {
    Ok(match change {
        Change::Register(registration, at) => {
            let (registered, left) = register(model, registration, *at);
            let mailbox = match &registered {
                Registered::Done { mailbox, .. } => Some(*mailbox),
                Registered::NoMailbox | Registered::TooManyDevices => None,
            };
            (Changed::Registered(registered), mailbox, left)
        }
        Change::Cutoff(of, cutoff) => {
            let found = device(model, *of).map(|row| row.cutoff = *cutoff).is_some();
            (Changed::Found(found), find(model, of.tenant, of.smtp), None)
        }
        Change::Activity(of, at) => {
            let found = device(model, *of).map(|row| row.last_activity = row.last_activity.max(*at)).is_some();
            (Changed::Found(found), find(model, of.tenant, of.smtp), None)
        }
        Change::DeviceRemove(of) => {
            let mailbox = find(model, of.tenant, of.smtp);
            let device = mailbox.and_then(|mailbox| model.devices_of(mailbox).find(|(_, row)| row.name == of.name).map(|(id, _)| *id));
            let shard = device.and_then(|device| {
                model.device_end(device, "device_removed", now);
                model.mailboxes.get(&mailbox?).map(|row| row.shard)
            });
            (Changed::Removed(shard), mailbox, None)
        }
        Change::MailboxAdd(tenant, smtp, at) => {
            let there = find(model, tenant, smtp);
            let mailbox = there.unwrap_or_else(|| add(model, tenant, smtp, *at));
            let view = view(model, mailbox).expect("it was found or added in this transaction");
            (Changed::Mailbox(view, there.is_none()), Some(mailbox), None)
        }
        Change::MailboxRemove(tenant, smtp) => {
            let mailbox = find(model, tenant, smtp);
            (Changed::Removed(mailbox.and_then(|mailbox| model.mailbox_end(mailbox))), mailbox, None)
        }
        Change::KeyCreate(key) => {
            if model.keys.contains_key(&key.id) {
                return Err(StoreError::Unusable("a key of this id exists".into()));
            }
            model.keys.insert(key.id.clone(), (*key).clone());
            (Changed::Found(true), None, None)
        }
        Change::KeyRevoke(id) => (Changed::Found(model.keys.remove(*id).is_some()), None, None),
        Change::Sending(allowed) => {
            model.sending_allowed = *allowed;
            (Changed::Found(true), None, None)
        }
    })
}

/// What became of it, and the mailbox whose device lost the token.
fn register(model: &mut Model, new: &Registration, now: Timestamp) -> (Registered, Option<MailboxId>) {
    let known = find(model, &new.tenant, &new.smtp);
    if known.is_none() && !new.create_mailbox {
        return (Registered::NoMailbox, None);
    }
    let own = known.and_then(|mailbox| model.devices_of(mailbox).find(|(_, row)| row.name == new.name).map(|(id, _)| *id));
    let same = |row: &DeviceRow| row.provider == new.provider && row.app == new.app && row.token == new.token;
    let of_tenant = |row: &DeviceRow| model.mailboxes.get(&row.mailbox).is_some_and(|mailbox| mailbox.tenant == new.tenant);
    let holder = model.devices.iter().find(|(_, row)| same(row) && of_tenant(row)).map(|(id, _)| *id);
    let others = known.map_or(0, |mailbox| model.devices_of(mailbox).filter(|(id, _)| Some(**id) != holder).count());
    if own.is_none() && others >= MAX_DEVICES {
        return (Registered::TooManyDevices, None);
    }
    let mailbox = known.unwrap_or_else(|| add(model, &new.tenant, &new.smtp, now));
    begin_watch(model, mailbox, now);
    let device = DeviceRow {
        mailbox,
        name: new.name.clone(),
        provider: new.provider,
        app: new.app.clone(),
        token: new.token.clone(),
        generation: Generation(1),
        registered_at: now,
        last_activity: now,
        cutoff: new.cutoff,
    };
    // One that only changed its name stays the row it is, with what is still to be pushed to it.
    let renamed = holder.filter(|id| own.is_none() && model.devices.get(id).is_some_and(|row| row.mailbox == mailbox));
    let id = match own.or(renamed).and_then(|id| Some((id, model.devices.get_mut(&id)?))) {
        Some((id, row)) => {
            let moved = row.token != device.token || row.app != device.app || row.provider != device.provider;
            let generation = Generation(row.generation.0 + i64::from(moved));
            let last_activity = row.last_activity.max(now);
            *row = DeviceRow { generation, last_activity, ..device };
            id
        }
        None => {
            let id = DeviceId(model.next_id());
            model.devices.insert(id, device);
            id
        }
    };
    let holder = holder.filter(|holder| *holder != id);
    let left = holder.and_then(|holder| model.devices.get(&holder)).map(|row| row.mailbox);
    if let Some(holder) = holder {
        model.device_end(holder, "token_moved", now);
    }
    let shard = model.mailboxes.get(&mailbox).map_or(ShardId(0), |row| row.shard);
    (Registered::Done { mailbox, shard, created: own.is_none() }, left)
}

/// Begins the watch of a mailbox that has no device yet.
fn begin_watch(model: &mut Model, mailbox: MailboxId, now: Timestamp) {
    if model.devices_of(mailbox).next().is_some() {
        return;
    }
    if let Some(row) = model.mailboxes.get_mut(&mailbox) {
        if row.unwatched_at.is_none_or(|at| at < now - KEPT) {
            row.watch_since = now;
        }
        row.unwatched_at = None;
        let shard = row.shard;
        model.membership_changed(shard);
    }
}

fn add(model: &mut Model, tenant: &TenantId, smtp: &Smtp, now: Timestamp) -> MailboxId {
    let shard = ShardId::of_address(smtp, u16::try_from(model.shards.len()).unwrap_or(u16::MAX));
    let id = MailboxId(model.next_id());
    let smtp = Arc::new(smtp.clone());
    model.addresses.insert((tenant.clone(), Arc::clone(&smtp)), id);
    let row = MailboxRow {
        tenant: tenant.clone(),
        smtp,
        shard,
        authority: None,
        sync_seq: SyncSeq(0),
        sync_state: None,
        seeded: false,
        badge_dirty: false,
        watch_since: now,
        announced_until: Timestamp(0),
        unwatched_at: None,
        subscription: None,
    };
    model.mailboxes.insert(id, row);
    model.membership_changed(shard);
    id
}

fn find(model: &Model, tenant: &TenantId, smtp: &Smtp) -> Option<MailboxId> {
    model.addresses.get(&(tenant.clone(), Arc::new(smtp.clone()))).copied()
}

fn device<'a>(model: &'a mut Model, of: Of<'_>) -> Option<&'a mut DeviceRow> {
    let mailbox = find(model, of.tenant, of.smtp)?;
    model.devices.values_mut().find(|row| row.mailbox == mailbox && row.name == of.name)
}

fn view(model: &Model, mailbox: MailboxId) -> Option<MailboxView> {
    let row = model.mailboxes.get(&mailbox)?;
    Some(MailboxView {
        mailbox,
        tenant: row.tenant.clone(),
        smtp: (*row.smtp).clone(),
        shard: row.shard,
        devices: u32::try_from(model.devices_of(mailbox).count()).unwrap_or(u32::MAX),
        seeded: row.seeded,
        sync_seq: row.sync_seq.0,
        watch_since: row.watch_since,
        announced_until: row.announced_until,
    })
}

fn device_view(device: DeviceId, row: &DeviceRow) -> DeviceView {
    DeviceView {
        device,
        name: row.name.clone(),
        provider: row.provider,
        app: row.app.clone(),
        generation: row.generation,
        registered_at: row.registered_at,
        last_activity: row.last_activity,
        cutoff: row.cutoff,
    }
}

fn delivery_view(model: &Model, row: &super::DeliveryRow) -> DeliveryView {
    DeliveryView {
        event: row.event.short(),
        device: model.devices.get(&row.device).map(|device| device.name.clone()),
        kind: match row.kind {
            DeliveryKind::Mail => "mail",
            DeliveryKind::Badge => "badge",
        },
        state: match row.settled {
            None => "PENDING",
            Some(Settled::Sent) => "SENT",
            Some(Settled::Dead) => "DEAD",
            Some(Settled::Superseded) => "SUPERSEDED",
        }
        .into(),
        reason: row.reason.as_deref().map(Into::into),
        count: row.count,
        attempts: row.attempts,
        received_at: row.received_at,
        created_at: row.created_at,
        settled_at: row.settled_at,
        next_at: row.next_at,
    }
}
