//! What of an embedded database goes to a database that many nodes share: which tables, which columns, and how a row travels.

use postrider_actors::ids::{ShardId, Smtp};
use serde_json::Value;

/// A table whose rows go, as they are but for what belongs to ownership.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// Columns that go as they are.
    pub(in crate::store) plain: &'static [&'static str],
    /// Columns of bytes.
    pub(in crate::store) bytes: &'static [&'static str],
}

/// In an order in which each finds what it refers to. Ids stay, since the ids of pushes are made of them; those of the other database begin beyond them.
pub(in crate::store) const TABLES: [Table; 5] = [
    Table {
        name: "mailbox",
        plain: &[
            "mailbox_id",
            "tenant",
            "smtp",
            "shard_id",
            "sync_seq",
            "seeded",
            "badge_dirty",
            "watch_since",
            "announced_until",
            "unwatched_at",
            "created_at",
            "subscription",
            "sync_state",
        ],
        bytes: &[],
    },
    Table {
        name: "device",
        plain: &["device_id", "mailbox_id", "name", "provider", "app", "token", "generation", "registered_at", "last_activity", "cutoff"],
        bytes: &[],
    },
    Table {
        name: "delivery",
        plain: &[
            "id",
            "mailbox_id",
            "device_id",
            "generation",
            "kind",
            "item_id",
            "received_at",
            "count",
            "fence",
            "state",
            "reason",
            "attempts",
            "refused",
            "next_at",
            "expires_at",
            "created_at",
            "settled_at",
        ],
        bytes: &["event_key", "group_key"],
    },
    Table { name: "api_key", plain: &["id", "role", "tenant", "note", "created_at"], bytes: &["hash"] },
    Table { name: "audit", plain: &["at", "who", "what", "object", "status", "tenant"], bytes: &[] },
];

impl Table {
    /// All of its columns that go.
    pub(in crate::store) fn columns(&self) -> String {
        self.plain.iter().chain(self.bytes).copied().collect::<Vec<_>>().join(", ")
    }
}

/// A mailbox's shard among those of the other database.
pub(in crate::store) fn place(row: &mut Value, shards: u16) {
    if let (Some(smtp), Some(_)) = (row.get("smtp").and_then(Value::as_str), row.get("shard_id")) {
        row["shard_id"] = ShardId::of_address(&Smtp::new(smtp), shards).0.into();
    }
}

/// How much went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Rows by table.
    pub rows: Vec<(&'static str, u64)>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mailbox_finds_its_shard_by_its_address_and_other_rows_stay() {
        let mut row = json!({ "smtp": "ada@example.com", "shard_id": 3 });
        place(&mut row, 4096);
        assert_eq!(row["shard_id"], ShardId::of_address(&Smtp::new("ada@example.com"), 4096).0);
        let mut other = json!({ "object": "mailbox 7" });
        place(&mut other, 4096);
        assert_eq!(other, json!({ "object": "mailbox 7" }));
    }
}
