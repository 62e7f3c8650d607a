BEGIN;
UPDATE user_profile SET "mutedInstances"=CASE WHEN jsonb_typeof("mutedInstances_old")='array' THEN ARRAY(SELECT DISTINCT e FROM jsonb_array_elements_text("mutedInstances_old") e WHERE e IS NOT NULL ORDER BY 1) ELSE '{}' END, "hideFf"=("ffVisibility"='private');
COMMIT;
