SELECT md5(string_agg(j::text, E'\n' ORDER BY id)) FROM journals j;
