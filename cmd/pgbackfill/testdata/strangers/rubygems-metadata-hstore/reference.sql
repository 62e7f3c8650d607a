BEGIN;
UPDATE versions SET metadata_json=hstore_to_jsonb(metadata), metadata2=metadata-'n'::text;
COMMIT;
