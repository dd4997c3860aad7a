-- The last delivery rows of a mailbox, newest first. $1: mailbox; $2: limit.
SELECT delivery.event_key, device.name, delivery.kind, delivery.state, delivery.reason, delivery.count, delivery.attempts,
       delivery.received_at, delivery.created_at, delivery.settled_at, delivery.next_at
FROM delivery
LEFT JOIN device ON device.device_id = delivery.device_id
WHERE delivery.mailbox_id = $1
ORDER BY delivery.id DESC
LIMIT $2
