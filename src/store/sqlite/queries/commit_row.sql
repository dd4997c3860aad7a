-- Inserts a delivery row of an entry that matched. ?1: mailbox; ?2: device; ?3: generation; ?4: event; ?5: group; ?6: kind; ?7: item;
-- ?8: received_at; ?9: count; ?10: fence; ?11: next_at; ?12: expires_at; ?13: created_at.
-- Its values are not selected from the device, which would make SQLite keep a journal of each single insert.
INSERT INTO delivery (mailbox_id, device_id, generation, event_key, group_key, kind, item_id, received_at, count, fence, next_at, expires_at, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (mailbox_id, device_id, event_key) DO NOTHING  -- safety: a mail has one row per device, whoever derives it again
