-- A token belongs to one device per tenant, provider and app; registrations of one token stand in line by an advisory lock, so that no second row comes between.
ALTER TABLE device DROP CONSTRAINT device_app_token_key;
CREATE INDEX device_token ON device (app, token);

-- Of which company a line of the trail is; the empty name for what is done to the database itself.
ALTER TABLE audit ADD COLUMN tenant text NOT NULL DEFAULT '';
UPDATE audit SET tenant = api_key.tenant FROM api_key WHERE audit.who = 'key ' || api_key.id;
