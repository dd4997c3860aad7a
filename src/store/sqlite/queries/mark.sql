-- Settles rows. ?1: JSON rows [id, state, reason]; ?2: now.
UPDATE delivery
SET state = mark.value ->> 1,
    reason = mark.value ->> 2,
    settled_at = ?2,
    item_id = NULL
FROM json_each(?1) AS mark
WHERE delivery.id = mark.value ->> 0
  AND delivery.state = 'PENDING'  -- safety: a row ends once; a verdict that comes second changes nothing
