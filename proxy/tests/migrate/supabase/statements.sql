SELECT name, partner_organization_id FROM projects
SELECT p.name, d.title, d.words FROM projects p JOIN documents d ON d.project_id = p.id
SELECT count(*) FROM document_shares
SELECT count(*) FROM presence
SELECT d.title FROM documents d JOIN documents o ON o.id = d.parent_id
SELECT name, documents FROM api.project_list
SELECT id, price_id FROM billing.subscriptions
SELECT id, unit_amount FROM billing.prices
SELECT name FROM organizations
SELECT user_id, role FROM organization_members
SELECT username FROM profiles
UPDATE documents SET title = title || ' again' WHERE title LIKE '%3' RETURNING title, words
INSERT INTO projects (user_id, name) SELECT user_id, 'New' FROM organization_members LIMIT 1 RETURNING name
DELETE FROM document_shares RETURNING document_id
