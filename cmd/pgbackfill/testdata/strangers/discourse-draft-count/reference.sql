BEGIN;
UPDATE user_stats s SET draft_count=(SELECT count(*) FROM drafts d WHERE d.user_id=s.user_id);
COMMIT;
