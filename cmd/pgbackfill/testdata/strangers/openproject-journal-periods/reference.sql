BEGIN;
UPDATE journals j SET validity_period=tstzrange(created_at, nx) FROM (SELECT id, lead(created_at) OVER (PARTITION BY journable_type, journable_id ORDER BY version) nx FROM journals WHERE journable_type IS NOT NULL) w WHERE w.id=j.id;
COMMIT;
