-- lock
LOCK TABLE "public"."users" IN ACCESS EXCLUSIVE MODE;
-- lock
LOCK TABLE "public"."old_users" IN ACCESS EXCLUSIVE MODE;
-- trigger
DROP TRIGGER IF EXISTS "zzzz_pgbackfill_insert_users-display-name" ON "public"."users";
-- trigger
DROP TRIGGER IF EXISTS "zzzz_pgbackfill_update_users-display-name" ON "public"."users";
-- trigger
DROP TRIGGER IF EXISTS "zzzz_pgbackfill_insert_users-display-name" ON "public"."old_users";
-- trigger
DROP TRIGGER IF EXISTS "zzzz_pgbackfill_update_users-display-name" ON "public"."old_users";
-- function
DROP FUNCTION IF EXISTS "pgbackfill"."dual_write_users-display-name"();
