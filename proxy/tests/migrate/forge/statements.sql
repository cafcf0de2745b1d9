SELECT count(*) FROM users
SELECT id, name, parent_id, traversal_ids FROM namespaces
SELECT i.title, i.iid, n.name FROM issues i JOIN namespaces n ON n.id = i.namespace_id WHERE i.iid < 3
WITH RECURSIVE tree AS (SELECT id, 1 AS depth FROM namespaces WHERE parent_id IS NULL UNION ALL SELECT n.id, depth + 1 FROM namespaces n JOIN tree t ON n.parent_id = t.id) SELECT depth, count(*) FROM tree GROUP BY depth
SELECT p.ref, p.partition_id, count(*) FROM p_ci_pipelines p JOIN p_ci_builds b ON b.commit_id = p.id AND b.partition_id = p.partition_id GROUP BY 1, 2
SELECT count(*) FROM ci_build_needs
SELECT count(*) FROM web_hook_logs WHERE created_at < '2026-01-03'
SELECT count(*) FROM notes
SELECT name FROM organizations
SELECT version FROM schema_migrations
INSERT INTO p_ci_builds (partition_id, name) VALUES (101, 'new') RETURNING name
UPDATE issues SET title = title || '!' WHERE iid = 3 RETURNING title
DELETE FROM p_ci_pipelines WHERE partition_id = 102 RETURNING id
