BEGIN;
WITH RECURSIVE q AS (SELECT id, '0.'||id AS p FROM comment WHERE parent_id IS NULL UNION ALL SELECT c.id, q.p||'.'||c.id FROM q JOIN comment c ON c.parent_id=q.id)
UPDATE comment c SET path=q.p::ltree FROM q WHERE q.id=c.id;
UPDATE comment_aggregates a SET child_count=n FROM (SELECT c.id, count(d.id) n FROM comment c LEFT JOIN comment d ON d.path <@ c.path AND d.path<>c.path GROUP BY 1) s WHERE s.id=a.comment_id;
COMMIT;
