BEGIN;
UPDATE bookmarks SET bookmarkable_id=post_id, bookmarkable_type='Post' WHERE NOT for_topic;
UPDATE bookmarks b SET bookmarkable_id=p.topic_id, bookmarkable_type='Topic' FROM posts p WHERE for_topic AND p.id=b.post_id;
COMMIT;
