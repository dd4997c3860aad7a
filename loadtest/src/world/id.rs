//! Item ids, change keys and sync states: opaque to clients, readable here, different in every run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of an item id; 120 characters in base64, the length that Exchange gives to items of the inbox.
const ITEM_ID_BYTES: usize = 90;
/// Where the readable part of an item id begins: after the format's tag and the mailbox's name.
const ITEM_ID_BODY: usize = 46;
/// Bytes of a sync state. Real ones are some hundreds of characters long, and whoever stores them must have room.
const SYNC_STATE_BYTES: usize = 264;

/// What an item id says: which incarnation of the mailbox, and which item of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ItemNumber {
    /// Grows with every mailbox move.
    pub(super) generation: u32,
    /// The item's place in the mailbox's history.
    pub(super) number: u64,
}

/// What a sync state says: how far a client has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyncMark {
    /// Refused when it is not the mailbox's own: a move or a refusal made it unusable.
    pub(super) epoch: u64,
    /// Items up to this number are known to the client.
    pub(super) created: u64,
    /// Changes up to this number are known to the client.
    pub(super) changed: u64,
}

/// The name under which a mailbox signs its ids.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    guid: String,
    key: u64,
}

impl Signature {
    pub(super) fn new(instance: u64, smtp: &str) -> Self {
        let name = format!("{instance:016x}/{smtp}");
        let guid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, name.as_bytes());
        let key = guid.as_u64_pair().0;
        Self { guid: guid.to_string(), key }
    }

    pub(super) fn item_id(&self, item: ItemNumber) -> String {
        let mut bytes = Vec::with_capacity(ITEM_ID_BYTES);
        bytes.extend_from_slice(&[0, 3, 0x24, 0]);
        bytes.extend_from_slice(self.guid.as_bytes());
        bytes.extend_from_slice(&[0, 0x46, 0, 0, 0, 0]);
        bytes.extend_from_slice(&item.generation.to_be_bytes());
        bytes.extend_from_slice(&item.number.to_be_bytes());
        let mut mixed = self.key ^ item.number ^ (u64::from(item.generation) << 40);
        while bytes.len() < ITEM_ID_BYTES {
            mixed = mix(mixed);
            let room = ITEM_ID_BYTES - bytes.len();
            bytes.extend_from_slice(&mixed.to_be_bytes()[..room.min(8)]);
        }
        STANDARD.encode(bytes)
    }

    /// Reads an id back; `None` when it is not one of this mailbox's.
    pub(super) fn read_item_id(&self, id: &str) -> Option<ItemNumber> {
        let bytes = STANDARD.decode(id).ok()?;
        let body = bytes.get(ITEM_ID_BODY..)?;
        let item = ItemNumber {
            generation: u32::from_be_bytes(body.get(..4)?.try_into().ok()?),
            number: u64::from_be_bytes(body.get(4..12)?.try_into().ok()?),
        };
        (self.item_id(item) == id).then_some(item)
    }

    pub(super) fn change_key(&self, item: ItemNumber, version: u32) -> String {
        let mut bytes = vec![9, 0, 0, 0, 0x16, 0, 0, 0];
        bytes.extend_from_slice(&mix(self.key ^ item.number).to_be_bytes());
        bytes.extend_from_slice(&mix(u64::from(version)).to_be_bytes());
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        STANDARD.encode(bytes)
    }

    pub(super) fn sync_state(&self, mark: SyncMark) -> String {
        let mut bytes = Vec::with_capacity(SYNC_STATE_BYTES);
        for part in [mark.epoch, mark.created, mark.changed] {
            bytes.extend_from_slice(&part.to_be_bytes());
        }
        let mut mixed = self.key ^ mark.epoch ^ mark.created.rotate_left(21) ^ mark.changed;
        while bytes.len() < SYNC_STATE_BYTES {
            mixed = mix(mixed);
            bytes.extend_from_slice(&mixed.to_be_bytes());
        }
        STANDARD.encode(bytes)
    }

    /// Reads a sync state back; `None` when it is damaged or another mailbox's.
    pub(super) fn read_sync_state(&self, state: &str) -> Option<SyncMark> {
        let bytes = STANDARD.decode(state).ok()?;
        let part = |at: usize| -> Option<u64> { Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?)) };
        let mark = SyncMark { epoch: part(0)?, created: part(8)?, changed: part(16)? };
        (self.sync_state(mark) == state).then_some(mark)
    }

    /// The first part of the mailbox's name, which ids of the outside world may carry.
    pub(super) fn short_name(&self) -> &str {
        self.guid.split('-').next().unwrap_or_default()
    }

    /// The id of the inbox folder itself.
    pub(super) fn folder_id(&self) -> String {
        let mut bytes = vec![0, 3, 0x24, 0];
        bytes.extend_from_slice(self.guid.as_bytes());
        bytes.extend_from_slice(&[0, 0x2e, 0, 0, 0, 0]);
        bytes.extend_from_slice(&mix(self.key).to_be_bytes());
        bytes.extend_from_slice(&mix(!self.key).to_be_bytes());
        bytes.extend_from_slice(&[1, 0, 0, 0, 0]);
        STANDARD.encode(bytes)
    }
}

/// The finalizer of SplitMix64: spreads every bit over all others, and can be undone, so nothing collides.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_120_characters_read_back_and_belong_to_one_mailbox_and_run() {
        let anna = Signature::new(1, "anna@corp.example");
        let item = ItemNumber { generation: 3, number: 77 };
        let id = anna.item_id(item);
        assert_eq!(id.len(), 120);
        assert!(id.starts_with("AAMk"));
        assert_eq!(anna.read_item_id(&id), Some(item));
        assert_eq!(Signature::new(2, "anna@corp.example").read_item_id(&id), None);
        assert_eq!(Signature::new(1, "bob@corp.example").read_item_id(&id), None);
        assert_eq!(anna.read_item_id("AAMk"), None);
    }

    #[test]
    fn a_damaged_sync_state_is_not_read() {
        let anna = Signature::new(1, "anna@corp.example");
        let mark = SyncMark { epoch: 1, created: 50_000, changed: 60_000 };
        let state = anna.sync_state(mark);
        assert_eq!(anna.read_sync_state(&state), Some(mark));
        assert_eq!(anna.read_sync_state(&state[..state.len() - 4]), None);
        assert_eq!(anna.read_sync_state(""), None);
        assert_eq!(Signature::new(2, "anna@corp.example").read_sync_state(&state), None);
    }
}
