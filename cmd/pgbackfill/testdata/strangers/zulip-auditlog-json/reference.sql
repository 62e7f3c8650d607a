BEGIN;
UPDATE zerver_realmauditlog SET extra_data_json=extra_data::jsonb WHERE extra_data<>'' AND extra_data NOT LIKE '{''%';
COMMIT;
