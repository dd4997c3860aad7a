-- What a database that many nodes share needs as well, so that both kinds answer alike: what a shard requires of its owner, and names in the assignment log.

ALTER TABLE shard ADD COLUMN requires TEXT NOT NULL DEFAULT '';   -- features, separated by commas
ALTER TABLE assign_log ADD COLUMN by_node TEXT;
ALTER TABLE assign_log ADD COLUMN from_node TEXT;
ALTER TABLE assign_log ADD COLUMN to_node TEXT;
