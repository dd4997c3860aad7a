-- Moves the sync states of a batch. ?1: JSON rows [mailbox, fence, session, sync_seq, seeded, badge_dirty, announced_until, sync_state].
UPDATE mailbox
SET sync_seq = mailbox.sync_seq + 1,
    seeded = entry.seeded,
    badge_dirty = entry.badge_dirty,
    announced_until = entry.announced_until,
    sync_state = entry.sync_state
FROM (
    SELECT value ->> 0 AS mailbox_id, value ->> 1 AS fence, value ->> 2 AS session, value ->> 3 AS sync_seq,
           value ->> 4 AS seeded, value ->> 5 AS badge_dirty, value ->> 6 AS announced_until, value ->> 7 AS sync_state
    FROM json_each(?1)
) AS entry
WHERE mailbox.mailbox_id = entry.mailbox_id
  AND mailbox.fence = entry.fence             -- safety: nobody adopted the shard since (I1)
  AND mailbox.owner_session = entry.session   -- safety: the epoch alone may come twice, after a lost tail (I2)
  AND mailbox.sync_seq = entry.sync_seq       -- safety: nobody, a lost answer of our own included, committed since the state was read (I4)
RETURNING mailbox.mailbox_id
