-- A device as it is at this moment. ?1: device.
SELECT device.device_id, device.generation, mailbox.tenant, device.provider, device.app, device.token, device.last_activity, device.cutoff
FROM device
JOIN mailbox ON mailbox.mailbox_id = device.mailbox_id
WHERE device.device_id = ?1
