SELECT md5(string_agg(concat_ws(',',user_id,topic_id,created_at), E'\n' ORDER BY user_id,topic_id)) FROM dismissed_topic_users;
