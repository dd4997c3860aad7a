-- Who answers: whether it takes writes, which database it is, on which timeline, whether a standby confirms commits, which version.
SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off',
       (SELECT system_identifier::text FROM pg_control_system()),
       -- From the position of the log: the control file still shows the former timeline just after a promotion.
       CASE WHEN pg_is_in_recovery() THEN 0
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int::bigint END,
       current_setting('synchronous_standby_names') <> '',
       current_setting('server_version_num')::int
