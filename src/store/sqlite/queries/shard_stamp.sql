-- Stamps the mailboxes of a shard with its owner's authority, those without devices too. ?1: shard; ?2: fence; ?3: session.
UPDATE mailbox
SET fence = ?2, owner_session = ?3
WHERE shard_id = ?1
  AND (fence IS NOT ?2 OR owner_session IS NOT ?3)  -- rows that carry it already are not written again
