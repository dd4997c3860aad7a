-- Inserts the delivery rows of the entries that matched. {rows} stands for bound rows:
-- mailbox, device, generation, event, group, kind, item, received_at, count, fence, next_at, expires_at, created_at.
INSERT INTO delivery (mailbox_id, device_id, generation, event_key, group_key, kind, item_id, received_at, count, fence, next_at, expires_at, created_at)
SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, column11, column12, column13
FROM (VALUES {rows}) AS entry
CROSS JOIN device ON device.device_id = entry.column2  -- CROSS keeps the order: entries first
WHERE device.mailbox_id = entry.column1  -- safety: the device did not move to another mailbox meanwhile
ON CONFLICT (mailbox_id, device_id, event_key) DO NOTHING  -- safety: a mail has one row per device, whoever derives it again
RETURNING id, mailbox_id, device_id, event_key
