SELECT post_id FROM (SELECT n FROM generate_series(1, 3000) AS n WHERE n % 3 > 0) AS kept FULL JOIN drafts ON drafts.post_id = kept.n
 WHERE kept.n IS NULL OR drafts.post_id IS NULL;
