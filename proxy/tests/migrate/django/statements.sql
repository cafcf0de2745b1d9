SELECT id, name FROM core_project
SELECT t.id, t.title, t.rating, t.search, u.username FROM core_ticket t LEFT JOIN auth_user u ON u.id = t.assignee_id
SELECT s.warehouse_code, s.sku, count(m.id) FROM core_stock s LEFT JOIN core_movement m USING (warehouse_code, sku) GROUP BY 1, 2
SELECT title FROM core_report
SELECT body FROM core_document
SELECT name, slug FROM core_organization
SELECT count(*) FROM core_membership
UPDATE core_stock SET amount = amount + 1 WHERE sku = 'sku1' RETURNING warehouse_code, amount
INSERT INTO core_report (title) VALUES ('new') RETURNING title
DELETE FROM core_movement WHERE sku = 'sku2' RETURNING warehouse_code
