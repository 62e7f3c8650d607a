BEGIN;
CREATE TEMP TABLE m AS SELECT id, min(id) OVER (PARTITION BY lower(name)) keep FROM tags;
INSERT INTO statuses_tags SELECT status_id, keep FROM statuses_tags s JOIN m ON m.id=s.tag_id ON CONFLICT DO NOTHING;
UPDATE featured_tags f SET tag_id=keep FROM m WHERE m.id=f.tag_id AND keep<>m.id;
DELETE FROM statuses_tags s USING m WHERE m.id=s.tag_id AND keep<>m.id;
DELETE FROM tags t USING m WHERE m.id=t.id AND keep<>m.id;
COMMIT;
