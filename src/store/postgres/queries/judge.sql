-- Judges nodes BAD that stood still. $1: sessions; $2: the heartbeats that they stood still at.
UPDATE node
SET state = 'BAD'
FROM unnest($1::bigint[], $2::bigint[]) AS victim (session, hb_seq)
WHERE node.session = victim.session
  AND node.hb_seq = victim.hb_seq                         -- safety: one that beat meanwhile lives; its update and this one exclude each other
  AND node.state IN ('JOINING', 'GOOD', 'DRAINING')
