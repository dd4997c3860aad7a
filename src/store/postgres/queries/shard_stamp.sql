-- Stamps the mailboxes of a shard with its owner's authority, those without devices too, locked in order. $1: shard; $2: fence; $3: session.
WITH stale AS (
    SELECT mailbox_id
    FROM mailbox
    WHERE shard_id = $1
      AND (fence IS DISTINCT FROM $2 OR owner_session IS DISTINCT FROM $3)  -- rows that carry it already are not written again
    ORDER BY mailbox_id
    FOR NO KEY UPDATE
)
UPDATE mailbox
SET fence = $2, owner_session = $3
FROM stale
WHERE mailbox.mailbox_id = stale.mailbox_id
