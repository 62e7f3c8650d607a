SELECT md5(string_agg(u::text, E'\n' ORDER BY "userId" COLLATE "C")) FROM user_profile u;
