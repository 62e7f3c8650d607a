SELECT id FROM posts WHERE comments_count <> (SELECT count(*) FROM comments WHERE post_id = posts.id AND NOT spam);
