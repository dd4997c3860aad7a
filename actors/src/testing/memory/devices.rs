//! The devices in memory, as the delivery of pushes sees them.

use async_trait::async_trait;

use super::{Call, MemoryStore};
use crate::ids::{DeviceId, EventKey, Generation, MailboxId};
use crate::ports::device_store::{DeviceNow, DeviceStore, Recipient};
use crate::ports::error::StoreError;
use crate::ports::push_sender::Channel;
use crate::time::Timestamp;

#[async_trait]
impl DeviceStore for MemoryStore {
    async fn recipients(&self, mailbox: MailboxId, events: &[EventKey]) -> Result<Vec<Recipient>, StoreError> {
        self.call(Call::Recipients, |model, _| {
            let Some(tenant) = model.mailboxes.get(&mailbox).map(|row| row.tenant.clone()) else { return Vec::new() };
            let of = |(device, row): (&DeviceId, &super::DeviceRow)| Recipient {
                device: *device,
                generation: row.generation,
                channel: Channel { tenant: tenant.clone(), provider: row.provider, app: row.app.clone() },
                known: events.iter().copied().filter(|event| model.events.contains_key(&(mailbox, *device, *event))).collect(),
            };
            model.devices_of(mailbox).map(of).collect()
        })
    }

    async fn devices_now(&self, devices: &[DeviceId]) -> Result<Vec<DeviceNow>, StoreError> {
        self.call(Call::DevicesNow, |model, _| {
            let now = |device: &DeviceId| {
                let row = model.devices.get(device)?;
                let tenant = model.mailboxes.get(&row.mailbox)?.tenant.clone();
                Some(DeviceNow {
                    device: *device,
                    generation: row.generation,
                    channel: Channel { tenant, provider: row.provider, app: row.app.clone() },
                    token: row.token.clone(),
                    last_activity: row.last_activity,
                    cutoff: row.cutoff,
                })
            };
            devices.iter().filter_map(now).collect()
        })
    }

    async fn device_forget(&self, device: DeviceId, generation: Generation, gone_since: Option<Timestamp>) -> Result<bool, StoreError> {
        self.call(Call::DeviceForget, |model, now| {
            let Some(row) = model.devices.get(&device) else { return true };
            if row.generation != generation || gone_since.is_some_and(|gone| row.registered_at > gone) {
                return false;
            }
            model.device_end(device, "device_gone", now);
            true
        })
    }
}
