SELECT md5(string_agg(c::text||a::text, E'\n' ORDER BY id)) FROM comment c JOIN comment_aggregates a ON comment_id=id;
