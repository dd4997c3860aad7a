-- Live devices of a mailbox. ?1: mailbox.
SELECT device.device_id, device.generation, mailbox.tenant, device.provider, device.app
FROM device
JOIN mailbox ON mailbox.mailbox_id = device.mailbox_id
WHERE device.mailbox_id = ?1
ORDER BY device.device_id
