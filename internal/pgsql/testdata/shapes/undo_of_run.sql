-- of run 7
(SELECT h.was FROM "pgbackfill"."helper_7_dupes" h WHERE (t.n > :least AND {{range}} AND t.id IN (SELECT id FROM "pgbackfill"."helper_7_dupes")
) AND {{range h}}) -- {{helper dupes}};
