-- Lines of the trail, newest first. ?1: tenants as a JSON list, empty for all; ?2: before this number; ?3: since; ?4: until; ?5: who; ?6: in the action; ?7: in the object; ?8: how many.
SELECT id, at, who, what, object, status, tenant FROM audit
WHERE (json_array_length(?1) = 0 OR tenant IN (SELECT value FROM json_each(?1)))
  AND (?2 IS NULL OR id < ?2)
  AND (?3 IS NULL OR at >= ?3)
  AND (?4 IS NULL OR at < ?4)
  AND (?5 IS NULL OR who = ?5)
  AND (?6 IS NULL OR instr(what, ?6) > 0)
  AND (?7 IS NULL OR instr(object, ?7) > 0)
ORDER BY id DESC LIMIT ?8
