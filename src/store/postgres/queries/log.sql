-- Lines of the assignment log. $1: number; $2: epoch; $3: by which session; $4: shards; $5: new owners or targets; $6: reasons.
INSERT INTO assign_log (ver, by_session, reason, shard_id, from_session, to_session, epoch, at, by_node, from_node, to_node)
SELECT $1, $3, change.reason, change.shard_id, shard.owner_session, change.owner, $2, now_micros(), actor.node_id, former.node_id, next.node_id
FROM unnest($4::int[], $5::bigint[], $6::text[]) AS change (shard_id, owner, reason)
JOIN shard ON shard.shard_id = change.shard_id
LEFT JOIN node AS actor ON actor.session = $3
LEFT JOIN node AS former ON former.session = shard.owner_session
LEFT JOIN node AS next ON next.session = change.owner
