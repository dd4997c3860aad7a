-- Plans the next try of a row, or notes that it begins. ?1: id; ?2: mailbox; ?3: fence; ?4: session; ?5: group; ?6: next_at; ?7: ended; ?8: refused; ?9: reason.
UPDATE delivery
SET attempts = delivery.attempts + ?7,
    refused = ?8,
    group_key = ?5,
    next_at = ?6,
    reason = ?9
FROM mailbox
WHERE delivery.id = ?1
  AND delivery.mailbox_id = ?2
  AND delivery.state = 'PENDING'     -- safety: what is settled stays settled
  AND mailbox.mailbox_id = ?2
  AND mailbox.fence = ?3             -- safety: only the owner plans; a former one would put off what its successor sends
  AND mailbox.owner_session = ?4
