-- Removes a device that a provider called gone. $1: device; $2: generation; $3: since when it is gone, or NULL.
DELETE FROM device
WHERE device_id = $1
  AND generation = $2                                    -- safety: a late verdict says nothing about a newer registration
  AND ($3::bigint IS NULL OR registered_at <= $3)        -- safety: nor about one that came after the provider saw it gone
RETURNING mailbox_id
