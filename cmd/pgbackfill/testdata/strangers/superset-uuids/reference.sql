BEGIN;
UPDATE slices SET uuid=gen_random_uuid() WHERE uuid IS NULL;
COMMIT;
