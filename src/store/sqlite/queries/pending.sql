-- PENDING rows of a mailbox whatever their fence (I13), oldest first. ?1: mailbox; ?2 and ?3: fence and session that it is to carry.
SELECT id, device_id, generation, event_key, group_key, kind, item_id, received_at, count, attempts, refused, next_at, expires_at
FROM delivery
WHERE mailbox_id = ?1 AND state = 'PENDING'
  AND EXISTS (SELECT 1 FROM mailbox WHERE mailbox_id = ?1 AND fence = ?2 AND owner_session = ?3)  -- safety: who was overtaken sends nothing
ORDER BY id
LIMIT 1024
