SELECT id FROM tickets WHERE status <> CASE id % 4 + 1 WHEN 2 THEN 3 WHEN 3 THEN 4 ELSE id % 4 + 1 END;
