-- Mailboxes of a session with PENDING rows that are due, longest due first. The rows' own fence is not asked for: whoever committed
-- them may be gone (I13). $1: session; $2: now; $3: limit.
SELECT delivery.mailbox_id
FROM delivery
JOIN mailbox ON mailbox.mailbox_id = delivery.mailbox_id
JOIN shard ON shard.shard_id = mailbox.shard_id
WHERE delivery.state = 'PENDING' AND delivery.next_at <= $2 AND shard.owner_session = $1
GROUP BY delivery.mailbox_id
ORDER BY min(delivery.next_at), delivery.mailbox_id
LIMIT $3
