BEGIN;
INSERT INTO dismissed_topic_users (user_id, topic_id, created_at)
SELECT s.user_id, p.id, s.new_since FROM user_stats s JOIN users u ON u.id=s.user_id JOIN user_options o ON o.user_id=u.id
JOIN topics p ON p.created_at<=s.new_since AND p.archetype<>'private_message' AND p.created_at >= greatest(CASE coalesce(o.new_topic_duration_minutes, 2880)
 WHEN -1 THEN u.created_at WHEN -2 THEN coalesce(u.previous_visit_at,u.created_at)
 ELSE timestamp '2021-02-01' - interval '1 minute' * coalesce(o.new_topic_duration_minutes, 2880) END, timestamp '2021-01-03')
LEFT JOIN topic_users tu ON tu.topic_id=p.id AND tu.user_id=u.id
WHERE s.new_since IS NOT NULL AND tu.last_read_post_number IS NULL ON CONFLICT DO NOTHING;
COMMIT;
