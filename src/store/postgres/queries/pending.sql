-- PENDING rows of a mailbox whatever their fence (I13), oldest first. $1: mailbox.
SELECT id, device_id, generation, event_key, group_key, kind, item_id, received_at, count, attempts, refused, next_at, expires_at
FROM delivery
WHERE mailbox_id = $1 AND state = 'PENDING'
ORDER BY id
LIMIT 1024
