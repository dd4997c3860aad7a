-- Mailboxes of a shard that are to be watched, recently active first. $1: shard.
SELECT mailbox_id, tenant, smtp, seeded, badge_dirty,
       EXISTS (SELECT 1 FROM delivery WHERE delivery.mailbox_id = mailbox.mailbox_id AND delivery.state = 'PENDING'),
       announced_until
FROM mailbox
WHERE shard_id = $1 AND EXISTS (SELECT 1 FROM device WHERE device.mailbox_id = mailbox.mailbox_id)
ORDER BY announced_until DESC, mailbox_id
