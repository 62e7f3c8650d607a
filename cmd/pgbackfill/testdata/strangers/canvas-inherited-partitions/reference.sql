BEGIN;
UPDATE messages m SET root_account_id=c.root_account_id FROM courses c WHERE c.id=m.context_id;
COMMIT;
