-- Moves the sync states of a batch. {rows} stands for bound rows:
-- mailbox, fence, session, sync_seq, seeded, badge_dirty, announced_until, sync_state.
UPDATE mailbox
SET sync_seq = mailbox.sync_seq + 1,
    seeded = entry.column5,
    badge_dirty = entry.column6,
    announced_until = entry.column7,
    sync_state = entry.column8
FROM (VALUES {rows}) AS entry
WHERE mailbox.mailbox_id = entry.column1
  AND mailbox.fence = entry.column2           -- safety: nobody adopted the shard since (I1)
  AND mailbox.owner_session = entry.column3   -- safety: the epoch alone may come twice, after a lost tail (I2)
  AND mailbox.sync_seq = entry.column4        -- safety: nobody, a lost answer of our own included, committed since the state was read (I4)
RETURNING mailbox.mailbox_id
