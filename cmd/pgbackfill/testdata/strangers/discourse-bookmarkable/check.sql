SELECT md5(string_agg(b::text, E'\n' ORDER BY id)) FROM bookmarks b;
