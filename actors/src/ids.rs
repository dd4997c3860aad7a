//! Identifiers of everything that travels between the core and its edges: nothing is a bare string or number.

use std::fmt;
use std::sync::Arc;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A watched mailbox: the key of its row.
    MailboxId(i64)
);
number_id!(
    /// A registered device: the key of its row. A device that registers anew keeps its row and gets a new [`Generation`].
    DeviceId(i64)
);
number_id!(
    /// One push to be made: the key of a delivery row.
    DeliveryId(i64)
);
number_id!(
    /// A shard of mailboxes, `0..shards` (256 on SQLite, 4096 on PostgreSQL): the unit of assignment.
    ShardId(u16)
);
number_id!(
    /// A random 63-bit number drawn at each start of a process: no two lives of a node share one.
    Session(i64)
);
number_id!(
    /// How often a device row was registered anew. A verdict about an older generation says nothing about the newer.
    Generation(i64)
);
number_id!(
    /// How often the sync state of a mailbox was committed; each commit names the number that it read.
    SyncSeq(i64)
);

impl ShardId {
    /// The shard of an address among `shards` of them: FNV-1a over its bytes, so that every store and every version agrees.
    #[must_use]
    pub fn of_address(address: &Smtp, shards: u16) -> Self {
        let hash =
            address.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        // The low bits of FNV-1a alone spread short, similar addresses badly; the high half is folded in.
        Self(u16::try_from((hash ^ (hash >> 32)) % u64::from(shards.max(1))).unwrap_or(0))
    }
}

/// The epoch of a shard's ownership: `(timeline << 40) | assign_ver`; stamped on a mailbox row it is the mailbox's fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub i64);

impl Fence {
    /// Builds the epoch of assignment number `assign_ver` (40 bits) on the database's timeline `tli` (0 on SQLite).
    #[must_use]
    pub fn new(tli: u32, assign_ver: i64) -> Self {
        Self((i64::from(tli) << 40) | assign_ver)
    }
}

/// Who may write about a mailbox: compared as a whole on every write (invariant I1 of the cluster protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// The epoch under which the owner adopted the shard.
    pub fence: Fence,
    /// The life of the process that owns it.
    pub session: Session,
}

/// The name of a tenant as the configuration gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub Arc<str>);

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a node as the configuration gives it; names one machine, not one life of a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub Arc<str>);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A mailbox's primary SMTP address in lower case. `Debug` and `Display` shorten it (`a…@example.com`): it is personal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Smtp(Box<str>);

impl Smtp {
    /// Takes an address as it is, in lower case; whether it is well-formed is checked where it enters (the API).
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self(address.to_lowercase().into_boxed_str())
    }

    /// The whole address, for the wire and the store; never for a log above DEBUG.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the last `@`, empty if there is none.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: String = self.0.chars().take(1).collect();
        write!(f, "{first}…@{}", self.domain())
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The EWS item id or Graph message id of a mail, without its change key. Opaque; about 150 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub Box<str>);

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ItemId({})", EventKey::of_item(self).short())
    }
}

/// What a push is about: the first 16 bytes of SHA-256 of the item id. One row per (mailbox, device, event key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(pub [u8; 16]);

impl EventKey {
    /// The key of a mail.
    #[must_use]
    pub fn of_item(item: &ItemId) -> Self {
        Self::of_bytes(item.0.as_bytes())
    }

    /// The key of a badge push: its kind and the sync sequence number, so that uniqueness does not swallow a later one.
    #[must_use]
    pub fn of_badge(seq: SyncSeq) -> Self {
        Self::of_bytes(format!("badge:{seq}").as_bytes())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
        Self(key)
    }

    /// The short hash that a push carries for an app to tell which mails it announces: 6 bytes in base64url, 8 characters.
    #[must_use]
    pub fn short(&self) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        self.0[..6]
            .chunks_exact(3)
            .flat_map(|three| {
                let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
                [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
            })
            .collect()
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// What Exchange or Graph hands out to continue a sync from (SyncFolderItems `SyncState`, a delta link). Opaque, several KB.
#[derive(Clone, PartialEq, Eq)]
pub struct SyncState(pub Box<str>);

impl fmt::Debug for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncState({} bytes)", self.0.len())
    }
}
