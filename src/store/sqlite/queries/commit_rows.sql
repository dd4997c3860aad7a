-- Inserts the delivery rows of the entries that matched. ?1: JSON rows
-- [mailbox, device, generation, event, group, kind, item, received_at, count, fence, next_at, expires_at]; ?2: now.
INSERT INTO delivery (mailbox_id, device_id, generation, event_key, group_key, kind, item_id, received_at, count, fence, next_at, expires_at, created_at)
SELECT entry.value ->> 0, entry.value ->> 1, entry.value ->> 2, unhex(entry.value ->> 3), unhex(entry.value ->> 4), entry.value ->> 5,
       entry.value ->> 6, entry.value ->> 7, entry.value ->> 8, entry.value ->> 9, entry.value ->> 10, entry.value ->> 11, ?2
FROM json_each(?1) AS entry
CROSS JOIN device ON device.device_id = entry.value ->> 1  -- CROSS keeps the order: entries first
WHERE device.mailbox_id = entry.value ->> 0  -- safety: the device did not move to another mailbox meanwhile
  AND device.generation = entry.value ->> 2  -- safety: a registration that nobody looked at gets no row
ORDER BY entry.key
ON CONFLICT (mailbox_id, device_id, event_key) DO NOTHING  -- safety: a mail has one row per device, whoever derives it again
RETURNING id, mailbox_id, device_id, event_key
