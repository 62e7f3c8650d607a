SELECT md5(string_agg(p::text, E'\n' ORDER BY id)) FROM organizations p;
