-- Devices as they are at this moment. ?1: JSON list of device ids.
SELECT device.device_id, device.generation, mailbox.tenant, device.provider, device.app, device.token, device.last_activity, device.cutoff
FROM json_each(?1) AS wanted
CROSS JOIN device ON device.device_id = wanted.value
JOIN mailbox ON mailbox.mailbox_id = device.mailbox_id
