SELECT md5(string_agg(concat_ws(',',u.id,admin,moderator,r.name), E'\n' ORDER BY u.id)) FROM users u LEFT JOIN user_roles r ON r.id=role_id;
