-- Removes settled rows, oldest first. $1: settled before; $2: at most. What another node removes at this moment is left to it.
DELETE FROM delivery
WHERE id IN (
    SELECT id FROM delivery
    WHERE settled_at IS NOT NULL AND settled_at < $1
    ORDER BY settled_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
