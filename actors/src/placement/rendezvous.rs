//! Rendezvous hashing: which of several equal nodes a shard belongs to, the same for every planner and every version.

use crate::ids::{NodeId, ShardId};

/// The key of a node: a hash of its name.
#[must_use]
pub fn key(node: &NodeId) -> u64 {
    // FNV-1a; mixed, because its low bits spread short, similar names badly.
    mix(node.0.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// How strongly a shard is drawn to a node: the strongest wins, and the loss of one node changes nothing between the others.
#[must_use]
pub fn draw(shard: ShardId, node_key: u64) -> u64 {
    mix(node_key ^ mix(u64::from(shard.0)))
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_draws_about_its_share_and_a_loss_moves_only_its_own() {
        let keys: Vec<u64> = (0..10).map(|n| key(&NodeId(format!("node-{n}").into()))).collect();
        let best = |keys: &[u64], shard| *keys.iter().max_by_key(|key| draw(shard, **key)).expect("there are nodes");
        let mut counts = [0; 10];
        for shard in (0..4096).map(ShardId) {
            let winner = best(&keys, shard);
            counts[keys.iter().position(|key| *key == winner).expect("one of them")] += 1;
            let survivors: Vec<u64> = keys[1..].to_vec();
            assert!(winner == keys[0] || best(&survivors, shard) == winner);
        }
        assert!(counts.iter().all(|count| (330..=490).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        assert_eq!(draw(ShardId(7), key(&NodeId("one".into()))), 12_602_179_832_997_454_123);
    }
}
