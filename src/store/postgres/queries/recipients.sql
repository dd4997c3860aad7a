-- Live devices of a mailbox, one row for each of the asked events that has a delivery row (one with NULL if none has).
-- $1: mailbox; $2: event keys.
SELECT device.device_id, device.generation, mailbox.tenant, device.provider, device.app, delivery.event_key
FROM device
JOIN mailbox ON mailbox.mailbox_id = device.mailbox_id
LEFT JOIN delivery ON delivery.mailbox_id = device.mailbox_id
    AND delivery.device_id = device.device_id
    AND delivery.event_key = ANY ($2)
WHERE device.mailbox_id = $1
ORDER BY device.device_id
