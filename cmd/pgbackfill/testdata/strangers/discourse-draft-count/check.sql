SELECT md5(string_agg(p::text, E'\n' ORDER BY user_id)) FROM user_stats p;
