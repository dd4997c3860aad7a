-- Plans the next try. ?1: JSON rows [id, mailbox, fence, session, next_at, refused, reason].
-- `refused` stays true only while every answered try was definitely not taken.
UPDATE delivery
SET attempts = delivery.attempts + 1,
    refused = (retry.value ->> 5) AND (delivery.attempts = 0 OR delivery.refused),
    next_at = retry.value ->> 4,
    reason = retry.value ->> 6
FROM json_each(?1) AS retry
CROSS JOIN mailbox ON mailbox.mailbox_id = retry.value ->> 1
WHERE delivery.id = retry.value ->> 0
  AND delivery.mailbox_id = mailbox.mailbox_id
  AND delivery.state = 'PENDING'              -- safety: what is settled stays settled
  AND mailbox.fence = retry.value ->> 2       -- safety: only the owner plans; a former one would put off what its successor sends
  AND mailbox.owner_session = retry.value ->> 3
