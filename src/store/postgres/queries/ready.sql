-- Notes that a receiver warmed up. $1: its session; $2: shards.
WITH planned AS (
    SELECT shard_id FROM shard
    WHERE shard_id = ANY ($2) AND target_session = $1  -- safety: a move that was cancelled or given to another is not made ready by a late word
    ORDER BY shard_id
    FOR NO KEY UPDATE
)
UPDATE shard
SET ready_session = $1
FROM planned
WHERE shard.shard_id = planned.shard_id AND shard.target_session = $1
