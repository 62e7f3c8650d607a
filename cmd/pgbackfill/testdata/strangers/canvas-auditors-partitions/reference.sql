BEGIN;
SET TimeZone='UTC';
INSERT INTO auditor_records (uuid,created_at,event_type,user_id) SELECT id, created_at, attrs->>'event_type', (attrs->>'user_id')::bigint FROM old_auth;
COMMIT;
