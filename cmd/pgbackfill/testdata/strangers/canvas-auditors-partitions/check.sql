SELECT md5(string_agg(concat_ws(',',uuid,created_at,event_type,user_id,tableoid::regclass), E'\n' ORDER BY uuid)) FROM auditor_records p;
