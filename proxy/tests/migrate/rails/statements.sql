SELECT count(*) FROM users
SELECT id, name, lead_task_id FROM projects
SELECT id, title, state, minutes FROM tasks
SELECT o.id, "group", count(*) FROM "order" o JOIN order_items i ON i."order" = o.id GROUP BY o.id, "group"
SELECT count(*), max(tag) FROM taggings
SELECT what FROM audit_events
SELECT i.number, l.text FROM billing.invoices i LEFT JOIN billing.lines l USING (year, number)
SELECT count(*), count(DISTINCT user_id) FROM visits
SELECT name, subdomain FROM accounts
SELECT name FROM countries
INSERT INTO tasks (project_id, title) SELECT min(id), 'new' FROM projects RETURNING title, state
UPDATE tasks SET hours = hours + 1 WHERE title LIKE 'T1%' RETURNING id, minutes
DELETE FROM comments RETURNING body
