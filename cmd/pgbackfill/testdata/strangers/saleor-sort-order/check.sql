SELECT md5(concat((SELECT string_agg(v::text,';' ORDER BY id) FROM attribute_value v),(SELECT string_agg(v::text,';' ORDER BY id) FROM attribute v)));
