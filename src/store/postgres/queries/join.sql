-- Writes a node's row with a new session. $1: node; $2: session; $3: weight; $4: users at most; $5: features; $6: version; $7: address.
INSERT INTO node (node_id, session, state, hb_at, weight, max_users, features, version, addr)
VALUES ($1, $2, 'JOINING', now_micros(), $3, $4, $5, $6, $7)
ON CONFLICT (node_id) DO UPDATE
SET session = excluded.session, state = excluded.state, hb_seq = 0, hb_at = excluded.hb_at, users = 0, weight = excluded.weight,
    max_users = excluded.max_users, features = excluded.features, version = excluded.version, addr = excluded.addr
RETURNING hb_at
