SELECT id, email FROM members
SELECT p.id, p.body, count(l.post_id) FROM posts p LEFT JOIN likes l ON l.post_id = p.id GROUP BY p.id
SELECT file FROM media
INSERT INTO posts (member_id, body) SELECT min(id), 'new' FROM members RETURNING body
DELETE FROM posts WHERE id % 2 = 0 RETURNING id
