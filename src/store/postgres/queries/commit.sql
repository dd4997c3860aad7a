-- Moves the sync states of a batch and inserts the delivery rows that they cover.
-- $1 to $8, by entry: mailbox, fence, session, sync_seq, seeded, badge_dirty, announced_until, sync_state.
-- $9 to $19, by row: mailbox, device, generation, event, group, kind, item, received_at, count, next_at, expires_at.
WITH entry AS (
    SELECT *
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bool[], $6::bool[], $7::bigint[], $8::text[])
      AS entry (mailbox_id, fence, session, sync_seq, seeded, badge_dirty, announced_until, sync_state)
), held AS MATERIALIZED (
    -- Locked in order of mailbox, as adoption does. Whoever was adopted meanwhile is waited for here, and then does not match.
    SELECT mailbox.mailbox_id
    FROM mailbox
    JOIN entry USING (mailbox_id)
    WHERE mailbox.fence = entry.fence             -- safety: nobody adopted the shard since (I1)
      AND mailbox.owner_session = entry.session   -- safety: the epoch alone may come twice, after a lost tail (I2)
      AND mailbox.sync_seq = entry.sync_seq       -- safety: nobody, a lost answer of our own included, committed since the state was read (I4)
    ORDER BY mailbox.mailbox_id
    FOR NO KEY UPDATE OF mailbox
), moved AS (
    UPDATE mailbox
    SET sync_seq = entry.sync_seq + 1, seeded = entry.seeded, badge_dirty = entry.badge_dirty,
        announced_until = entry.announced_until, sync_state = entry.sync_state
    FROM held
    JOIN entry USING (mailbox_id)
    WHERE mailbox.mailbox_id = held.mailbox_id
      AND mailbox.fence = entry.fence AND mailbox.owner_session = entry.session AND mailbox.sync_seq = entry.sync_seq
    RETURNING mailbox.mailbox_id, mailbox.fence
), added AS (
    INSERT INTO delivery (mailbox_id, device_id, generation, event_key, group_key, kind, item_id, received_at, count, fence, next_at, expires_at, created_at)
    SELECT fresh.mailbox_id, fresh.device_id, fresh.generation, fresh.event_key, fresh.group_key, fresh.kind, fresh.item_id,
           fresh.received_at, fresh.count, moved.fence, fresh.next_at, fresh.expires_at, (extract(epoch FROM now()) * 1000000)::bigint
    FROM unnest($9::bigint[], $10::bigint[], $11::bigint[], $12::bytea[], $13::bytea[], $14::text[], $15::text[],
                $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[])
      WITH ORDINALITY
      AS fresh (mailbox_id, device_id, generation, event_key, group_key, kind, item_id, received_at, count, next_at, expires_at, place)
    JOIN moved ON moved.mailbox_id = fresh.mailbox_id      -- rows of the entries that matched only: what did not move its state covers nothing
    JOIN device ON device.device_id = fresh.device_id
               AND device.mailbox_id = fresh.mailbox_id    -- safety: the device did not move to another mailbox meanwhile
    ORDER BY fresh.place
    ON CONFLICT (mailbox_id, device_id, event_key) DO NOTHING  -- safety: a mail has one row per device, whoever derives it again
    RETURNING id, mailbox_id, device_id, event_key
)
SELECT mailbox_id, NULL::bigint, NULL::bigint, NULL::bytea FROM moved
UNION ALL
SELECT mailbox_id, id, device_id, event_key FROM added
