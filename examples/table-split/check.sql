SELECT coalesce(u.id, p.user_id)
  FROM (SELECT * FROM users WHERE bio <> '' OR website <> '') AS u FULL JOIN user_profiles AS p ON p.user_id = u.id
 WHERE (p.bio, p.website) IS DISTINCT FROM (coalesce(u.bio, ''), coalesce(u.website, ''));
