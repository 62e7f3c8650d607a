-- lock
LOCK TABLE "public"."users" IN ACCESS EXCLUSIVE MODE;
-- lock
LOCK TABLE "public"."old_users" IN ACCESS EXCLUSIVE MODE;
-- trigger
DROP TRIGGER IF EXISTS "pgbackfill_tripwire_insert_users-display-name" ON "public"."users";
-- trigger
DROP TRIGGER IF EXISTS "pgbackfill_tripwire_update_users-display-name" ON "public"."users";
-- trigger
DROP TRIGGER IF EXISTS "pgbackfill_tripwire_insert_users-display-name" ON "public"."old_users";
-- trigger
DROP TRIGGER IF EXISTS "pgbackfill_tripwire_update_users-display-name" ON "public"."old_users";
-- function
DROP FUNCTION IF EXISTS "pgbackfill"."tripwire_users-display-name"();
-- sequence
DROP SEQUENCE IF EXISTS "pgbackfill"."tripwire_writes_users-display-name", "pgbackfill"."tripwire_unwritten_users-display-name";
