SELECT md5(string_agg(v::text, E'\n' ORDER BY id)) FROM catalog_resource_versions v;
