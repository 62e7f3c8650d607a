SELECT id FROM users
 WHERE last_name IS DISTINCT FROM (regexp_match(full_name, '(\S+)\s*$'))[1]
    OR (full_name = 'Cher') <> (first_name = '');
