-- The shard's change_seq if it is ours, locked. $1: shard; $2: epoch; $3: session.
-- Adding or removing a mailbox updates the same row first, so it is in what is loaded next, or comes after it with another change_seq.
SELECT change_seq
FROM shard
WHERE shard_id = $1 AND epoch = $2 AND owner_session = $3
  AND EXISTS (SELECT 1 FROM node WHERE session = $3 AND state IN ('GOOD', 'DRAINING'))  -- safety: a session that was replaced or judged adopts nothing more
FOR NO KEY UPDATE OF shard
