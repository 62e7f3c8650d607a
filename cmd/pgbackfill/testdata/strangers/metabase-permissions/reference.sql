BEGIN;
INSERT INTO data_permissions (group_id,db_id,schema_name,table_id,perm_type,perm_value) SELECT group_id, (regexp_match(object,'^/db/(\d+)/'))[1]::int, (regexp_match(object,'/schema/((?:[^/\\]|\\.)+)/'))[1], (regexp_match(object,'/table/(\d+)/'))[1]::int, 'view', 'unrestricted' FROM permissions;
COMMIT;
