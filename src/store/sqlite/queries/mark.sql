-- Settles a row. ?1: id; ?2: state; ?3: reason; ?4: now.
UPDATE delivery
SET state = ?2,
    reason = ?3,
    settled_at = ?4,
    item_id = NULL
WHERE id = ?1
  AND state = 'PENDING'  -- safety: a row ends once; a verdict that comes second changes nothing
