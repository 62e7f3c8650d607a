BEGIN;
UPDATE projects p SET tags_colors=c FROM (SELECT project_id, array_agg(ARRAY[tag,NULL] ORDER BY tag COLLATE "C") c FROM (SELECT DISTINCT project_id, lower(unnest(tags)) tag FROM (SELECT * FROM userstories UNION ALL SELECT * FROM tasks) x) y WHERE tag IS NOT NULL GROUP BY 1) s WHERE s.project_id=p.id;
COMMIT;
