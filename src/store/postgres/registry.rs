//! What people and phones change, in PostgreSQL: every write is as durable as the server can make it when its call returns.

use async_trait::async_trait;
use postrider_actors::ids::{MailboxId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_change::{AuditAsk, Change, Changed, Signed};
use postrider_actors::ports::registry_store::{ApiKey, AuditLine, DeliveryView, DeviceView, MailboxView, RegistryStore};
use postrider_actors::time::Timestamp;

use super::call::{reading, transaction};
use super::registry_mailboxes::{DeliveryRow, delivery_view};
use super::{PostgresStore, registry_changes, registry_devices, registry_mailboxes};
use crate::store::names;

type KeyRow = (String, Vec<u8>, String, String, String, i64);

#[async_trait]
impl RegistryStore for PostgresStore {
    async fn change(&self, change: Change<'_>, signed: Option<&Signed>) -> Result<Changed, StoreError> {
        transaction!(self.people(), |connection| registry_changes::change(connection, &change, signed).await?)
    }

    async fn device_list(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Vec<DeviceView>>, StoreError> {
        reading!(self.people(), |connection| registry_devices::list(connection, tenant, smtp).await?)
    }

    async fn mailbox_list(&self, tenant: &TenantId, after: Option<&Smtp>, limit: u32) -> Result<Vec<MailboxView>, StoreError> {
        let limit = i64::from(limit.min(1000));
        reading!(self.people(), |connection| registry_mailboxes::views(connection, tenant, None, after, limit).await?)
    }

    async fn mailbox_find(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<MailboxView>, StoreError> {
        Ok(reading!(self.people(), |connection| registry_mailboxes::views(connection, tenant, Some(smtp), None, 1).await?)?.pop())
    }

    async fn delivery_list(&self, mailbox: MailboxId, limit: u32) -> Result<Vec<DeliveryView>, StoreError> {
        let rows = reading!(self.people(), |connection| {
            let query = sqlx::query_as::<_, DeliveryRow>(include_str!("queries/delivery_list.sql"));
            query.bind(mailbox.0).bind(i64::from(limit)).fetch_all(connection).await?
        })?;
        rows.into_iter().map(delivery_view).collect()
    }

    async fn mailbox_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        transaction!(self.people(), |connection| registry_mailboxes::retain(connection, before, limit).await?)
    }

    async fn key_find(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let row = reading!(self.people(), |connection| {
            let query = sqlx::query_as::<_, KeyRow>("SELECT id, hash, role, tenant, note, created_at FROM api_key WHERE id = $1");
            query.bind(id).fetch_optional(connection).await?
        })?;
        row.map(key).transpose()
    }

    async fn key_list(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows = reading!(self.people(), |connection| {
            let query =
                sqlx::query_as::<_, KeyRow>("SELECT id, hash, role, tenant, note, created_at FROM api_key ORDER BY id COLLATE \"C\"");
            query.fetch_all(connection).await?
        })?;
        rows.into_iter().map(key).collect()
    }

    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        transaction!(self.people(), |connection| registry_changes::leave(connection, line).await?)
    }

    async fn audit_list(&self, ask: &AuditAsk) -> Result<Vec<(i64, AuditLine)>, StoreError> {
        reading!(self.people(), |connection| registry_changes::list(connection, ask).await?)
    }

    async fn audit_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let removed = transaction!(self.people(), |connection| {
            // Lines are left in the order of their ids, so the oldest are found without an index on their time.
            let query = sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT $2) AND at < $1");
            query.bind(before.0).bind(i64::from(limit)).execute(&mut *connection).await?.rows_affected()
        })?;
        Ok(u32::try_from(removed).unwrap_or(u32::MAX))
    }
}

fn key((id, hash, role, tenant, note, created_at): KeyRow) -> Result<ApiKey, StoreError> {
    let hash = <[u8; 32]>::try_from(hash).map_err(|_| StoreError::Unusable("a key's hash has not 32 bytes".into()))?;
    Ok(ApiKey { id, hash, role: names::role_of(&role)?, tenant: TenantId(tenant.into()), note, created_at: Timestamp(created_at) })
}
