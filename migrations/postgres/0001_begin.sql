-- The whole schema of a database that many nodes share; the same tables as the embedded database has. Times are BIGINT microseconds since 1970 UTC.
-- Mail content is in no table: rows hold identifiers only. Nothing here is UNLOGGED: a crash must not take ownership away from sync states.

CREATE FUNCTION now_micros() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Which timeline is written at this moment. The control file still shows the former one just after a promotion.
CREATE FUNCTION timeline() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int::bigint
$$;

-- An id that never comes twice, also where a promotion lost the last steps of a sequence: a late verdict must not meet a stranger's row.
CREATE FUNCTION next_id(sequence regclass) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (timeline() << 40) | nextval(sequence)
$$;

CREATE TABLE cluster (
    id              int     PRIMARY KEY CHECK (id = 1),
    system_id       text    NOT NULL,                 -- the server's own, when the schema was made or an operator accepted another one
    tli             bigint  NOT NULL,                 -- the highest timeline that was seen
    assign_ver      bigint  NOT NULL DEFAULT 0,       -- grows with each change of ownership; epochs come from it
    leader_session  bigint,
    sending_allowed boolean NOT NULL DEFAULT true
) WITH (fillfactor = 50);

INSERT INTO cluster (id, system_id, tli) SELECT 1, system_identifier::text, timeline() FROM pg_control_system();

CREATE TABLE node (
    node_id   text COLLATE "C" PRIMARY KEY,
    session   bigint  NOT NULL UNIQUE,
    state     text    NOT NULL CHECK (state IN ('JOINING', 'GOOD', 'DRAINING', 'LEFT', 'BAD')),
    hb_seq    bigint  NOT NULL DEFAULT 0,             -- no index on anything that a heartbeat changes: its update then stays in its page
    hb_at     bigint  NOT NULL DEFAULT 0,             -- for display
    users     bigint  NOT NULL DEFAULT 0,
    weight    bigint  NOT NULL DEFAULT 1,
    max_users bigint  NOT NULL,
    features  text    NOT NULL DEFAULT '',
    version   text    NOT NULL,
    addr      text    NOT NULL DEFAULT ''
) WITH (fillfactor = 50);

CREATE TABLE shard (
    shard_id       int     PRIMARY KEY,
    owner_session  bigint,                            -- no index: a change of owner then stays in its page
    epoch          bigint  NOT NULL DEFAULT 0,
    target_session bigint,
    ready_session  bigint,
    users          bigint  NOT NULL DEFAULT 0,        -- mailboxes with devices
    change_seq     bigint  NOT NULL DEFAULT 0,        -- grows when a mailbox is added, removed, or begins or ceases to be watched
    moved_ver      bigint  NOT NULL DEFAULT 0,
    requires       text    NOT NULL DEFAULT ''        -- features, separated by commas
) WITH (fillfactor = 70);

INSERT INTO shard (shard_id) SELECT generate_series(0, 4095);

CREATE SEQUENCE mailbox_ids;
CREATE TABLE mailbox (
    mailbox_id      bigint  PRIMARY KEY DEFAULT next_id('mailbox_ids'),
    tenant          text COLLATE "C" NOT NULL,
    smtp            text COLLATE "C" NOT NULL,        -- lower case
    shard_id        int     NOT NULL REFERENCES shard (shard_id),
    fence           bigint,                           -- with owner_session: the authority of whoever may write about it; NULL before its first adoption
    owner_session   bigint,
    sync_seq        bigint  NOT NULL DEFAULT 0,       -- commits so far
    seeded          boolean NOT NULL DEFAULT false,
    badge_dirty     boolean NOT NULL DEFAULT false,
    watch_since     bigint  NOT NULL,
    announced_until bigint  NOT NULL DEFAULT 0,
    unwatched_at    bigint,                           -- when it lost its last device; NULL while it has one or never had any
    created_at      bigint  NOT NULL,
    subscription    text,                             -- of its owner, for a successor to end
    sync_state      text,
    UNIQUE (tenant, smtp)
) WITH (fillfactor = 80);
ALTER SEQUENCE mailbox_ids OWNED BY mailbox.mailbox_id;
-- Several KB, compressed by the mail server already: that is not tried again.
ALTER TABLE mailbox ALTER COLUMN sync_state SET STORAGE EXTERNAL;

CREATE INDEX mailbox_shard ON mailbox (shard_id);
CREATE INDEX mailbox_unwatched ON mailbox (unwatched_at) WHERE unwatched_at IS NOT NULL;

CREATE SEQUENCE device_ids;
CREATE TABLE device (
    device_id     bigint  PRIMARY KEY DEFAULT next_id('device_ids'),
    mailbox_id    bigint  NOT NULL REFERENCES mailbox (mailbox_id) ON DELETE CASCADE,
    name          text COLLATE "C" NOT NULL,          -- the app's own
    provider      text    NOT NULL,                   -- with its environment: apns, apns_sandbox, fcm
    app           text COLLATE "C" NOT NULL,
    token         text COLLATE "C" NOT NULL,
    generation    bigint  NOT NULL,                   -- how often token, app or provider changed
    registered_at bigint  NOT NULL,
    last_activity bigint  NOT NULL,
    cutoff        bigint  NOT NULL,                   -- microseconds
    UNIQUE (mailbox_id, name),
    UNIQUE (app, token)                               -- a token belongs to one row
) WITH (fillfactor = 80);
ALTER SEQUENCE device_ids OWNED BY device.device_id;

CREATE SEQUENCE delivery_ids;
CREATE TABLE delivery (
    id          bigint  PRIMARY KEY DEFAULT next_id('delivery_ids'),
    mailbox_id  bigint  NOT NULL REFERENCES mailbox (mailbox_id) ON DELETE CASCADE,
    device_id   bigint  NOT NULL,                     -- no reference: rows outlive the device, to answer why
    generation  bigint  NOT NULL,
    event_key   bytea   NOT NULL CHECK (length(event_key) = 16),
    group_key   bytea   NOT NULL CHECK (length(group_key) = 16),
    kind        text    NOT NULL CHECK (kind IN ('mail', 'badge')),
    item_id     text,                                 -- NULL once settled
    received_at bigint  NOT NULL,
    count       bigint  NOT NULL,
    fence       bigint  NOT NULL,
    state       text    NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'SENT', 'DEAD', 'SUPERSEDED')),
    reason      text,
    attempts    bigint  NOT NULL DEFAULT 0,
    refused     boolean NOT NULL DEFAULT false,
    next_at     bigint  NOT NULL,
    expires_at  bigint  NOT NULL,
    created_at  bigint  NOT NULL,
    settled_at  bigint,
    UNIQUE (mailbox_id, device_id, event_key),
    CHECK ((state = 'PENDING') = (settled_at IS NULL)),
    CHECK (state = 'PENDING' OR item_id IS NULL)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER SEQUENCE delivery_ids OWNED BY delivery.id;

CREATE INDEX delivery_due ON delivery (next_at, mailbox_id) WHERE state = 'PENDING';
CREATE INDEX delivery_pending ON delivery (mailbox_id) WHERE state = 'PENDING';
CREATE INDEX delivery_settled ON delivery (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE assign_log (
    ver          bigint NOT NULL,
    by_session   bigint NOT NULL,
    reason       text   NOT NULL,
    shard_id     int,                                 -- NULL: all of them
    from_session bigint,
    to_session   bigint,
    epoch        bigint NOT NULL,
    at           bigint NOT NULL,
    by_node      text,                                -- names, because sessions mean nothing to people and their rows are replaced
    from_node    text,
    to_node      text
);

CREATE INDEX assign_log_ver ON assign_log (ver, shard_id);
CREATE INDEX assign_log_at ON assign_log (at);

CREATE TABLE api_key (
    id         text   PRIMARY KEY,
    hash       bytea  NOT NULL CHECK (length(hash) = 32),
    role       text   NOT NULL CHECK (role IN ('device_manager', 'admin')),
    tenant     text   NOT NULL,
    note       text   NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     bigint NOT NULL,
    who    text   NOT NULL,
    what   text   NOT NULL,
    object text   NOT NULL,
    status int    NOT NULL
);
