-- Settles rows. $1: ids; $2: states; $3: reasons.
UPDATE delivery
SET state = mark.state, reason = mark.reason, settled_at = (extract(epoch FROM now()) * 1000000)::bigint, item_id = NULL
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS mark (id, state, reason)
WHERE delivery.id = mark.id
  AND delivery.state = 'PENDING'  -- safety: a row ends once; a verdict that comes second changes nothing
