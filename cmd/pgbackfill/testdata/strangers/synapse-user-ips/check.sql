SELECT md5(string_agg(u::text, E'\n' ORDER BY u::text)) FROM user_ips u;
