-- Mailboxes of a tenant in order of address. $1: tenant; $2: this address alone, or NULL; $3: only those behind it, or NULL; $4: limit.
SELECT mailbox_id, tenant, smtp, shard_id, (SELECT count(*) FROM device WHERE device.mailbox_id = mailbox.mailbox_id),
       seeded, sync_seq, watch_since, announced_until
FROM mailbox
WHERE tenant = $1 AND smtp >= coalesce($2, $3, '') AND ($2::text IS NULL OR smtp = $2) AND ($3::text IS NULL OR smtp > $3)
ORDER BY smtp
LIMIT $4
