-- The shards that may go, with their receivers; locked in order. $1: shards; $2: their epochs as their owner knows them; $3: the owner; $4: receivers that are GOOD.
SELECT shard.shard_id, shard.target_session
FROM shard
JOIN unnest($1::int[], $2::bigint[]) AS named (shard_id, epoch) ON named.shard_id = shard.shard_id
WHERE shard.owner_session = $3
  AND shard.epoch = named.epoch                       -- safety: what changed hands in between is not given away by its former owner
  AND shard.ready_session = shard.target_session      -- safety: only whoever warmed up receives
  AND shard.target_session = ANY ($4)                 -- safety: and is still there
ORDER BY shard.shard_id
FOR NO KEY UPDATE OF shard
