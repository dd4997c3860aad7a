-- Plans the next try. $1 to $7, by row: id, mailbox, fence, session, next_at, refused, reason.
-- `refused` stays true only while every answered try was definitely not taken.
UPDATE delivery
SET attempts = delivery.attempts + 1,
    refused = retry.refused AND (delivery.attempts = 0 OR delivery.refused),
    next_at = retry.next_at,
    reason = retry.reason
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bool[], $7::text[])
  AS retry (id, mailbox_id, fence, session, next_at, refused, reason)
JOIN mailbox ON mailbox.mailbox_id = retry.mailbox_id
WHERE delivery.id = retry.id
  AND delivery.mailbox_id = mailbox.mailbox_id
  AND delivery.state = 'PENDING'              -- safety: what is settled stays settled
  AND mailbox.fence = retry.fence             -- safety: only the owner plans; a former one would put off what its successor sends
  AND mailbox.owner_session = retry.session
