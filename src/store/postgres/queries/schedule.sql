-- Plans the next try, or notes that it begins. $1 to $9, by row: id, mailbox, fence, session, group, next_at, ended, refused, reason.
WITH retry AS (
    SELECT *
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[], $7::bool[], $8::bool[], $9::text[])
      AS retry (id, mailbox_id, fence, session, group_key, next_at, ended, refused, reason)
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
SET attempts = delivery.attempts + retry.ended::int,
    refused = retry.refused,
    group_key = retry.group_key,
    next_at = retry.next_at,
    reason = retry.reason
FROM retry
JOIN held ON held.mailbox_id = retry.mailbox_id AND held.fence = retry.fence AND held.owner_session = retry.session
WHERE delivery.id = retry.id
  AND delivery.mailbox_id = held.mailbox_id
  AND delivery.state = 'PENDING'              -- safety: what is settled stays settled
