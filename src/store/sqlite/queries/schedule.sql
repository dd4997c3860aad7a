-- Plans the next try of a row. ?1: id; ?2: mailbox; ?3: fence; ?4: session; ?5: next_at; ?6: refused; ?7: reason.
-- `refused` stays true only while every answered try was definitely not taken.
UPDATE delivery
SET attempts = delivery.attempts + 1,
    refused = ?6 AND (delivery.attempts = 0 OR delivery.refused),
    next_at = ?5,
    reason = ?7
FROM mailbox
WHERE delivery.id = ?1
  AND delivery.mailbox_id = ?2
  AND delivery.state = 'PENDING'     -- safety: what is settled stays settled
  AND mailbox.mailbox_id = ?2
  AND mailbox.fence = ?3             -- safety: only the owner plans; a former one would put off what its successor sends
  AND mailbox.owner_session = ?4
