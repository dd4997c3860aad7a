-- Plans the next try. $1 to $7, by row: id, mailbox, fence, session, next_at, refused, reason.
-- `refused` stays true only while every answered try was definitely not taken.
WITH retry AS (
    SELECT *
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bool[], $7::text[])
      AS retry (id, mailbox_id, fence, session, next_at, refused, reason)
), held AS MATERIALIZED (
    -- Locked in order of mailbox before a row is touched: an adoption waits for us, or was waited for, and then does not match.
    SELECT mailbox.mailbox_id, mailbox.fence, mailbox.owner_session
    FROM mailbox
    JOIN (SELECT DISTINCT mailbox_id, fence, session FROM retry) AS named USING (mailbox_id)
    WHERE mailbox.fence = named.fence             -- safety: only the owner plans; a former one would put off what its successor sends
      AND mailbox.owner_session = named.session
    ORDER BY mailbox.mailbox_id
    FOR NO KEY UPDATE OF mailbox
)
UPDATE delivery
SET attempts = delivery.attempts + 1,
    refused = retry.refused AND (delivery.attempts = 0 OR delivery.refused),
    next_at = retry.next_at,
    reason = retry.reason
FROM retry
JOIN held ON held.mailbox_id = retry.mailbox_id AND held.fence = retry.fence AND held.owner_session = retry.session
WHERE delivery.id = retry.id
  AND delivery.mailbox_id = held.mailbox_id
  AND delivery.state = 'PENDING'              -- safety: what is settled stays settled
