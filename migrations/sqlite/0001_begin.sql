-- The whole schema of the embedded database. Times are INTEGER microseconds since 1970 UTC. Mail content is in no table: rows hold
-- identifiers only. AUTOINCREMENT wherever an id may still be named after its row is gone (a late verdict, a late registration): ids never come twice.

CREATE TABLE cluster (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    system_id       TEXT    NOT NULL,                 -- random, names this database among its copies' originals
    tli             INTEGER NOT NULL DEFAULT 0,       -- timeline: always 0 here
    assign_ver      INTEGER NOT NULL DEFAULT 0,       -- grows with each change of ownership; epochs come from it
    leader_session  INTEGER,                          -- always NULL here: one node needs no leader
    sending_allowed INTEGER NOT NULL DEFAULT 1 CHECK (sending_allowed IN (0, 1)),
    owner_locked    INTEGER NOT NULL DEFAULT 1 CHECK (owner_locked IN (0, 1)) -- whether the owner of the shards holds the file's lock, so that a free lock proves it dead
) STRICT;

INSERT INTO cluster (id, system_id) VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE node (
    node_id   TEXT    PRIMARY KEY,
    session   INTEGER NOT NULL UNIQUE,
    state     TEXT    NOT NULL CHECK (state IN ('JOINING', 'GOOD', 'DRAINING', 'LEFT', 'BAD')),
    hb_seq    INTEGER NOT NULL DEFAULT 0,
    hb_at     INTEGER NOT NULL DEFAULT 0,             -- for display
    weight    INTEGER NOT NULL DEFAULT 1,
    max_users INTEGER NOT NULL,
    features  TEXT    NOT NULL DEFAULT '',
    version   TEXT    NOT NULL,
    addr      TEXT    NOT NULL DEFAULT '',
    users     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE shard (
    shard_id       INTEGER PRIMARY KEY,
    owner_session  INTEGER,
    epoch          INTEGER NOT NULL DEFAULT 0,
    target_session INTEGER,
    ready_session  INTEGER,
    users          INTEGER NOT NULL DEFAULT 0,
    change_seq     INTEGER NOT NULL DEFAULT 0,        -- grows when a mailbox is added, removed, or begins or ceases to be watched
    moved_ver      INTEGER NOT NULL DEFAULT 0
) STRICT;

WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 255)
INSERT INTO shard (shard_id) SELECT n FROM number;

CREATE TABLE mailbox (
    mailbox_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant          TEXT    NOT NULL,
    smtp            TEXT    NOT NULL,                 -- lower case
    shard_id        INTEGER NOT NULL REFERENCES shard (shard_id),
    fence           INTEGER,                          -- with owner_session: the authority of whoever may write about it; NULL before its first adoption
    owner_session   INTEGER,
    sync_seq        INTEGER NOT NULL DEFAULT 0,       -- commits so far
    seeded          INTEGER NOT NULL DEFAULT 0 CHECK (seeded IN (0, 1)),
    badge_dirty     INTEGER NOT NULL DEFAULT 0 CHECK (badge_dirty IN (0, 1)),
    watch_since     INTEGER NOT NULL,
    announced_until INTEGER NOT NULL DEFAULT 0,
    unwatched_at    INTEGER,                          -- when it lost its last device; NULL while it has one or never had any
    created_at      INTEGER NOT NULL,
    subscription    TEXT,                             -- of its owner, for a successor to end
    sync_state      TEXT,                             -- several KB, so it stands last: rows are read without it
    UNIQUE (tenant, smtp)
) STRICT;

CREATE INDEX mailbox_shard ON mailbox (shard_id);
CREATE INDEX mailbox_unwatched ON mailbox (unwatched_at) WHERE unwatched_at IS NOT NULL;

CREATE TABLE device (
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
    UNIQUE (mailbox_id, name),
    UNIQUE (app, token)                               -- a token belongs to one row
) STRICT;

CREATE TABLE delivery (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox_id  INTEGER NOT NULL REFERENCES mailbox (mailbox_id) ON DELETE CASCADE,
    device_id   INTEGER NOT NULL,                     -- no reference: rows outlive the device, to answer why
    generation  INTEGER NOT NULL,
    event_key   BLOB    NOT NULL CHECK (length(event_key) = 16),
    group_key   BLOB    NOT NULL CHECK (length(group_key) = 16),
    kind        TEXT    NOT NULL CHECK (kind IN ('mail', 'badge')),
    item_id     TEXT,                                 -- NULL once settled
    received_at INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    fence       INTEGER NOT NULL,
    -- Not written with IN, for which SQLite would fill a table of its own at every change of a row.
    state       TEXT    NOT NULL DEFAULT 'PENDING' CHECK (state = 'PENDING' OR state = 'SENT' OR state = 'DEAD' OR state = 'SUPERSEDED'),
    reason      TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    refused     INTEGER NOT NULL DEFAULT 0 CHECK (refused IN (0, 1)),
    next_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    settled_at  INTEGER,
    UNIQUE (mailbox_id, device_id, event_key),
    CHECK ((state = 'PENDING') = (settled_at IS NULL)),
    CHECK (state = 'PENDING' OR item_id IS NULL)
) STRICT;

-- Also for the sweep, which walks through it: few rows are PENDING, and one index less is written with each mail and each verdict.
CREATE INDEX delivery_pending ON delivery (mailbox_id, next_at) WHERE state = 'PENDING';
CREATE INDEX delivery_settled ON delivery (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE assign_log (
    ver          INTEGER NOT NULL,
    by_session   INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    shard_id     INTEGER,                             -- NULL: all of them
    from_session INTEGER,
    to_session   INTEGER,
    epoch        INTEGER NOT NULL,
    at           INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    id         TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    role       TEXT    NOT NULL CHECK (role IN ('device_manager', 'admin')),
    tenant     TEXT    NOT NULL,
    note       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    who    TEXT    NOT NULL,
    what   TEXT    NOT NULL,
    object TEXT    NOT NULL,
    status INTEGER NOT NULL
) STRICT;
