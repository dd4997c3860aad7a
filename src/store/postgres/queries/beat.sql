-- One heartbeat, and what the node is told by it. $1: node; $2: session; $3: users; $4: system id and $5: timeline of the server that is asked.
-- A statement sees one moment: shards and assign_ver belong together.
WITH beat AS (
    UPDATE node SET hb_seq = hb_seq + 1, users = $3, hb_at = now_micros()
    WHERE node_id = $1
      AND session = $2                                              -- safety: a session that was replaced never beats again
      AND state IN ('JOINING', 'GOOD', 'DRAINING')                  -- safety: nor one that was judged; whoever comes second finds its row changed
      AND EXISTS (SELECT 1 FROM cluster WHERE system_id = $4 AND tli <= $5)  -- safety: another database, or an older copy, knows nothing of it
    RETURNING hb_seq, state
), seen AS (
    SELECT coalesce(array_agg(shard_id), '{}') AS shards, coalesce(array_agg(epoch), '{}') AS epochs,
           coalesce(array_agg(change_seq), '{}') AS changes, coalesce(array_agg(owner_session), '{}') AS owners,
           coalesce(array_agg(target_session), '{}') AS targets,
           coalesce(array_agg(coalesce(ready_session = target_session, false)), '{}') AS ready,
           coalesce(sum(users) FILTER (WHERE owner_session = $2), 0)::bigint AS users
    FROM (SELECT * FROM shard WHERE owner_session = $2 OR target_session = $2 ORDER BY users = 0, shard_id) AS mine
)
SELECT beat.hb_seq, beat.state, cluster.assign_ver, cluster.sending_allowed, now_micros() AS now, cluster.system_id, cluster.tli,
       seen.shards, seen.epochs, seen.changes, seen.owners, seen.targets, seen.ready, seen.users
FROM cluster CROSS JOIN seen LEFT JOIN beat ON true
