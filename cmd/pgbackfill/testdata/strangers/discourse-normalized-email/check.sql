SELECT md5(string_agg(concat_ws(',',email::text,user_id,normalized_email,domain,updated_at), E'\n' ORDER BY user_id)) FROM user_emails;
