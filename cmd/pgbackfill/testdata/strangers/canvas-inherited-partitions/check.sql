SELECT md5(string_agg(p::text||tableoid::regclass, E'\n' ORDER BY id)) FROM messages p;
