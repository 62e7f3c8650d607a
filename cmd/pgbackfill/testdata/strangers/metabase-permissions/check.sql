SELECT md5(string_agg(concat_ws(',',group_id,db_id,schema_name,table_id,perm_type,perm_value), E'\n' ORDER BY group_id,db_id,schema_name NULLS FIRST,table_id NULLS FIRST)) FROM data_permissions p;
