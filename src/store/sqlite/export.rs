//! Reading an embedded database to its end, for a database that many nodes share to take over; nobody else may be at work on it meanwhile.

use std::path::Path;

use postrider_actors::ports::StoreError;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::SqliteStore;
use super::connection::{CALL, Durability, Progress, within};
use super::lock::{self, FileLock};
use crate::store::transfer::Table;

/// An embedded database that no node works on.
pub(in crate::store) struct Export {
    store: SqliteStore,
    #[allow(dead_code, reason = "held for its Drop")]
    lock: FileLock,
}

impl Export {
    /// Opens the file, which must be there.
    pub(in crate::store) async fn open(path: &Path, options: super::Options) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Unusable(format!("{}: there is no such file", path.display())));
        }
        let Some(lock) = lock::try_lock(&lock::path_of(path))? else {
            return Err(StoreError::Unusable(format!("{}: a node works on it; stop it first", path.display())));
        };
        Ok(Self { store: SqliteStore::open(path, options).await?, lock })
    }

    /// The next rows of a table after the one with that number, as JSON; bytes as hexadecimal digits.
    pub(in crate::store) async fn page(&self, table: &Table, after: i64, limit: u32) -> Result<Vec<(i64, Value)>, StoreError> {
        let plain = table.plain.iter().map(|column| format!("'{column}', {column}"));
        let bytes = table.bytes.iter().map(|column| format!("'{column}', '\\x' || hex({column})"));
        let members = plain.chain(bytes).collect::<Vec<_>>().join(", ");
        let text = format!("SELECT rowid, json_object({members}) FROM {} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2", table.name);
        let query = sqlx::query_as::<_, (i64, String)>(AssertSqlSafe(text)).bind(after).bind(limit);
        let database = self.store.database();
        let rows = database.read(async { Ok(query.fetch_all(database.readers()).await?) }).await?;
        let parsed = rows.into_iter().map(|(row, text)| Ok((row, serde_json::from_str(&text)?)));
        parsed.collect::<Result<_, serde_json::Error>>().map_err(|_| StoreError::Unusable("a row of it cannot be read".into()))
    }

    /// From here on it pushes nothing, should a node be started on it by mistake; says whether it did until now.
    pub(in crate::store) async fn pause(&self) -> Result<bool, StoreError> {
        self.set_sending(false).await
    }

    /// Nothing of it was taken over: it may push again.
    pub(in crate::store) async fn allow(&self) -> Result<(), StoreError> {
        self.set_sending(true).await.map(drop)
    }

    /// Whether that changed anything.
    async fn set_sending(&self, allowed: bool) -> Result<bool, StoreError> {
        let progress = Progress::default();
        within(CALL, &progress, async {
            let mut writer = self.store.database().writer().await;
            let mut tx = writer.begin(Durability::Durable, &progress).await?;
            let query = sqlx::query("UPDATE cluster SET sending_allowed = ?1 WHERE sending_allowed <> ?1").bind(allowed);
            let changed = query.execute(&mut *tx).await?.rows_affected() > 0;
            tx.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// Closes it, and lets go of its lock.
    pub(in crate::store) async fn close(self) {
        self.store.close().await;
    }
}
