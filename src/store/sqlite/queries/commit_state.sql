-- Moves the sync state of one entry of a batch.
-- ?1: mailbox; ?2: fence; ?3: session; ?4: sync_seq; ?5: seeded; ?6: badge_dirty; ?7: announced_until; ?8: sync_state.
UPDATE mailbox
SET sync_seq = sync_seq + 1,
    seeded = ?5,
    badge_dirty = ?6,
    announced_until = ?7,
    sync_state = ?8
WHERE mailbox_id = ?1
  AND fence = ?2           -- safety: nobody adopted the shard since (I1)
  AND owner_session = ?3   -- safety: the epoch alone may come twice, after a lost tail (I2)
  AND sync_seq = ?4        -- safety: nobody, a lost answer of our own included, committed since the state was read (I4)
