-- Lines of the trail, newest first. $1: tenants, none for all; $2: before this number; $3: since; $4: until; $5: who; $6: in the action; $7: in the object; $8: how many.
SELECT id, at, who, what, object, status, tenant FROM audit
WHERE (cardinality($1::text[]) = 0 OR tenant = ANY ($1))
  AND ($2::bigint IS NULL OR id < $2)
  AND ($3::bigint IS NULL OR at >= $3)
  AND ($4::bigint IS NULL OR at < $4)
  AND ($5::text IS NULL OR who = $5)
  AND ($6::text IS NULL OR strpos(what, $6) > 0)
  AND ($7::text IS NULL OR strpos(object, $7) > 0)
ORDER BY id DESC LIMIT $8
