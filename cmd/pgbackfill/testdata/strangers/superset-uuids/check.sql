SELECT md5(string_agg(concat_ws(',',id,slice_name,params,uuid IS NULL, CASE WHEN id%10=0 THEN uuid END), E'\n' ORDER BY id))||count(DISTINCT uuid) FROM slices;
