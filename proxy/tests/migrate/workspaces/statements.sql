SELECT "E-Mail" FROM "Core"."Users"
SELECT "No", "Stage", "order" FROM crm."Deals"
SELECT d."No", n.body FROM crm."Deals" d JOIN crm."Deal Notes" n ON n."Deal No" = d."No" AND n.workspace_slug = d.workspace_slug
SELECT path, name FROM crm.folders
SELECT f.kb, o.path FROM crm.files f JOIN crm.folders o ON o.id = f.folder_id
SELECT count(*) FROM crm.file_locks
SELECT a, b FROM crm.heap
SELECT n, what FROM crm.events WHERE at > '2026-01-05'
SELECT count(*) FROM crm.event_marks
SELECT "No" FROM crm."Won"
SELECT "Title" FROM "Core"."Workspaces"
SELECT code FROM "Core"."Currencies"
INSERT INTO crm.folders (name) VALUES ('new') RETURNING path
UPDATE crm.files SET "size" = 4096 WHERE id % 2 = 0 RETURNING kb
DELETE FROM crm."Deal Notes" WHERE pos = 2 RETURNING "Deal No"
