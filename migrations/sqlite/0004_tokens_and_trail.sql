-- A token belongs to one device per tenant, provider and app. A table's own UNIQUE goes only with the table.
CREATE TABLE device_next (
    device_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox_id    INTEGER NOT NULL REFERENCES mailbox (mailbox_id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,                   -- the app's own
    provider      TEXT    NOT NULL,                   -- with its environment: apns, apns_sandbox, fcm
    app           TEXT    NOT NULL,
    token         TEXT    NOT NULL,
    generation    INTEGER NOT NULL,                   -- how often token, app or provider changed
    registered_at INTEGER NOT NULL,
    last_activity INTEGER NOT NULL,
    cutoff        INTEGER NOT NULL,                   -- microseconds
    UNIQUE (mailbox_id, name)
) STRICT;
INSERT INTO device_next (device_id, mailbox_id, name, provider, app, token, generation, registered_at, last_activity, cutoff)
SELECT device_id, mailbox_id, name, provider, app, token, generation, registered_at, last_activity, cutoff FROM device;
-- Ids never come twice, those of devices that are gone included.
DELETE FROM sqlite_sequence WHERE name = 'device_next';
INSERT INTO sqlite_sequence (name, seq) SELECT 'device_next', seq FROM sqlite_sequence WHERE name = 'device';
DROP TABLE device;
ALTER TABLE device_next RENAME TO device;
CREATE INDEX device_token ON device (app, token);

-- Of which company a line of the trail is; the empty name for what is done to the database itself.
ALTER TABLE audit ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
UPDATE audit SET tenant = coalesce((SELECT tenant FROM api_key WHERE 'key ' || id = audit.who), '');
