-- Writes a registration down. $1: mailbox; $2: name; $3: provider; $4: app; $5: token; $6: now; $7: cut-off.
-- The row of the same app and token, if it is another one, was removed in the same transaction.
INSERT INTO device (mailbox_id, name, provider, app, token, generation, registered_at, last_activity, cutoff)
VALUES ($1, $2, $3, $4, $5, 1, $6, $6, $7)
ON CONFLICT (mailbox_id, name) DO UPDATE
SET generation = device.generation
        + (device.provider <> excluded.provider OR device.app <> excluded.app OR device.token <> excluded.token)::int,
    provider = excluded.provider,
    app = excluded.app,
    token = excluded.token,
    registered_at = excluded.registered_at,
    last_activity = greatest(device.last_activity, excluded.last_activity),
    cutoff = excluded.cutoff
