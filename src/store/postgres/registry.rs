//! What people and phones change, in PostgreSQL: every write is as durable as the server can make it when its call returns.

use std::time::Duration;

use async_trait::async_trait;
use postrider_actors::ids::{MailboxId, ShardId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_store::{
    ApiKey, AuditLine, DeliveryView, DeviceView, MailboxView, Registered, Registration, RegistryStore,
};
use postrider_actors::time::Timestamp;

use super::call::{reading, transaction};
use super::registry_mailboxes::{DeliveryRow, delivery_view};
use super::{PostgresStore, registry_devices, registry_mailboxes};
use crate::store::names;

type KeyRow = (String, Vec<u8>, String, String, String, i64);

#[async_trait]
impl RegistryStore for PostgresStore {
    async fn device_register(&self, registration: &Registration, now: Timestamp) -> Result<Registered, StoreError> {
        transaction!(self.people(), |connection| registry_devices::register(connection, registration, now).await?)
    }

    async fn device_update(&self, tenant: &TenantId, smtp: &Smtp, name: &str, cutoff: Duration) -> Result<bool, StoreError> {
        transaction!(self.people(), |connection| {
            let query = sqlx::query(
                "UPDATE device SET cutoff = $4 WHERE mailbox_id = (SELECT mailbox_id FROM mailbox WHERE tenant = $1 AND smtp = $2) AND name = $3",
            );
            let query = query.bind(&*tenant.0).bind(smtp.as_str()).bind(name).bind(registry_devices::micros(cutoff));
            query.execute(&mut *connection).await?.rows_affected() == 1
        })
    }

    async fn device_activity(&self, tenant: &TenantId, smtp: &Smtp, name: &str, at: Timestamp) -> Result<bool, StoreError> {
        transaction!(self.people(), |connection| {
            let query = sqlx::query(
                "UPDATE device SET last_activity = greatest(last_activity, $4) \
                 WHERE mailbox_id = (SELECT mailbox_id FROM mailbox WHERE tenant = $1 AND smtp = $2) AND name = $3",
            );
            let query = query.bind(&*tenant.0).bind(smtp.as_str()).bind(name).bind(at.0);
            query.execute(&mut *connection).await?.rows_affected() == 1
        })
    }

    async fn device_remove(&self, tenant: &TenantId, smtp: &Smtp, name: &str) -> Result<Option<ShardId>, StoreError> {
        transaction!(self.people(), |connection| registry_devices::remove(connection, tenant, smtp, name).await?)
    }

    async fn device_list(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Vec<DeviceView>>, StoreError> {
        reading!(self.people(), |connection| registry_devices::list(connection, tenant, smtp).await?)
    }

    async fn mailbox_add(&self, tenant: &TenantId, smtp: &Smtp, now: Timestamp) -> Result<(MailboxView, bool), StoreError> {
        transaction!(self.people(), |connection| registry_mailboxes::add(connection, tenant, smtp, now).await?)
    }

    async fn mailbox_remove(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<ShardId>, StoreError> {
        transaction!(self.people(), |connection| registry_mailboxes::remove(connection, tenant, smtp).await?)
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

    async fn key_create(&self, key: &ApiKey) -> Result<(), StoreError> {
        let created = transaction!(self.people(), |connection| {
            let query = sqlx::query(
                "INSERT INTO api_key (id, hash, role, tenant, note, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            );
            let query = query.bind(&*key.id).bind(&key.hash[..]).bind(names::role(key.role)).bind(&*key.tenant.0).bind(&*key.note);
            query.bind(key.created_at.0).execute(&mut *connection).await?.rows_affected()
        })?;
        if created == 1 { Ok(()) } else { Err(StoreError::Unusable("a key of this id exists".into())) }
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

    async fn key_revoke(&self, id: &str) -> Result<bool, StoreError> {
        transaction!(self.people(), |connection| {
            sqlx::query("DELETE FROM api_key WHERE id = $1").bind(id).execute(&mut *connection).await?.rows_affected() == 1
        })
    }

    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        transaction!(self.people(), |connection| {
            let query = sqlx::query("INSERT INTO audit (at, who, what, object, status) VALUES ($1, $2, $3, $4, $5)");
            let query = query.bind(line.at.0).bind(&*line.who).bind(&*line.what).bind(&*line.object).bind(i32::from(line.status));
            query.execute(&mut *connection).await.map(drop)?;
        })
    }

    async fn audit_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        let removed = transaction!(self.people(), |connection| {
            // Lines are left in the order of their ids, so the oldest are found without an index on their time.
            let query = sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT $2) AND at < $1");
            query.bind(before.0).bind(i64::from(limit)).execute(&mut *connection).await?.rows_affected()
        })?;
        Ok(u32::try_from(removed).unwrap_or(u32::MAX))
    }

    async fn sending_allow(&self, allowed: bool) -> Result<(), StoreError> {
        transaction!(self.people(), |connection| {
            sqlx::query("UPDATE cluster SET sending_allowed = $1").bind(allowed).execute(&mut *connection).await.map(drop)?;
        })
    }
}

fn key((id, hash, role, tenant, note, created_at): KeyRow) -> Result<ApiKey, StoreError> {
    let hash = <[u8; 32]>::try_from(hash).map_err(|_| StoreError::Unusable("a key's hash has not 32 bytes".into()))?;
    Ok(ApiKey { id, hash, role: names::role_of(&role)?, tenant: TenantId(tenant.into()), note, created_at: Timestamp(created_at) })
}
