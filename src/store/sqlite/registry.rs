//! What people and phones change, in SQLite: every write is durable when its call returns.

use async_trait::async_trait;
use postrider_actors::ids::{MailboxId, Smtp, TenantId};
use postrider_actors::ports::StoreError;
use postrider_actors::ports::registry_change::{AuditAsk, Change, Changed, Signed};
use postrider_actors::ports::registry_store::{ApiKey, AuditLine, DeliveryView, DeviceView, MailboxView, RegistryStore};
use postrider_actors::time::Timestamp;

use super::connection::{CALL, Durability, Progress, within};
use super::error::Failure;
use super::registry_mailboxes::{DeliveryRow, delivery_view};
use super::{SqliteStore, registry_changes, registry_devices, registry_mailboxes};
use crate::store::names;

type KeyRow = (String, Vec<u8>, String, String, String, i64);

/// Runs statements as one durable transaction.
macro_rules! durable {
    ($store:expr, |$tx:ident| $work:expr) => {{
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = $store.database().writer().await;
            let mut $tx = writer.begin(Durability::Durable, &progress).await?;
            let answer = $work;
            $tx.commit().await?;
            Ok::<_, Failure>(answer)
        })
        .await
    }};
}

#[async_trait]
impl RegistryStore for SqliteStore {
    async fn change(&self, change: Change<'_>, signed: Option<&Signed>) -> Result<Changed, StoreError> {
        let now = self.now();
        durable!(self, |tx| registry_changes::change(&mut tx, &change, signed, now).await?)
    }

    async fn device_list(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<Vec<DeviceView>>, StoreError> {
        self.database().read(registry_devices::list(self.database().readers(), tenant, smtp)).await
    }

    async fn mailbox_list(&self, tenant: &TenantId, after: Option<&Smtp>, limit: u32) -> Result<Vec<MailboxView>, StoreError> {
        let limit = i64::from(limit.min(1000));
        let work = async {
            let mut connection = self.database().readers().acquire().await?;
            registry_mailboxes::views(&mut connection, tenant, None, after, limit).await
        };
        self.database().read(work).await
    }

    async fn mailbox_find(&self, tenant: &TenantId, smtp: &Smtp) -> Result<Option<MailboxView>, StoreError> {
        let work = async {
            let mut connection = self.database().readers().acquire().await?;
            registry_mailboxes::views(&mut connection, tenant, Some(smtp), None, 1).await
        };
        Ok(self.database().read(work).await?.pop())
    }

    async fn delivery_list(&self, mailbox: MailboxId, limit: u32) -> Result<Vec<DeliveryView>, StoreError> {
        let query = sqlx::query_as::<_, DeliveryRow>(include_str!("queries/delivery_list.sql")).bind(mailbox.0).bind(i64::from(limit));
        let rows = self.database().read(async { Ok(query.fetch_all(self.database().readers()).await?) }).await?;
        rows.into_iter().map(delivery_view).collect()
    }

    async fn mailbox_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        durable!(self, |tx| registry_mailboxes::retain(&mut tx, before, limit).await?)
    }

    async fn key_find(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let query = sqlx::query_as::<_, KeyRow>("SELECT id, hash, role, tenant, note, created_at FROM api_key WHERE id = ?1").bind(id);
        let row = self.database().read(async { Ok(query.fetch_optional(self.database().readers()).await?) }).await?;
        row.map(key).transpose()
    }

    async fn key_list(&self) -> Result<Vec<ApiKey>, StoreError> {
        let query = sqlx::query_as::<_, KeyRow>("SELECT id, hash, role, tenant, note, created_at FROM api_key ORDER BY id");
        let rows = self.database().read(async { Ok(query.fetch_all(self.database().readers()).await?) }).await?;
        rows.into_iter().map(key).collect()
    }

    async fn audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        durable!(self, |tx| registry_changes::leave(&mut tx, line).await?)
    }

    async fn audit_list(&self, ask: &AuditAsk) -> Result<Vec<(i64, AuditLine)>, StoreError> {
        let work = async { registry_changes::list(&mut *self.database().readers().acquire().await?, ask).await };
        self.database().read(work).await
    }

    async fn audit_retain(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        // Lines are left in the order of their ids, so the oldest are found without an index on their time.
        let query = sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT ?2) AND at < ?1");
        let query = query.bind(before.0).bind(i64::from(limit));
        let removed = durable!(self, |tx| query.execute(&mut *tx).await?.rows_affected())?;
        Ok(u32::try_from(removed).unwrap_or(u32::MAX))
    }
}

fn key((id, hash, role, tenant, note, created_at): KeyRow) -> Result<ApiKey, StoreError> {
    let hash = <[u8; 32]>::try_from(hash).map_err(|_| StoreError::Unusable("a key's hash has not 32 bytes".into()))?;
    Ok(ApiKey { id, hash, role: names::role_of(&role)?, tenant: TenantId(tenant.into()), note, created_at: Timestamp(created_at) })
}
