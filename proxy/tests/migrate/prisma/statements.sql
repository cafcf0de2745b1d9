SELECT id, email, role FROM "User"
SELECT t.id, t."end", p."Name" FROM "Task" t JOIN "Project" p ON p.id = t."projectId"
SELECT p."Name", t.label FROM "_ProjectToTag" x JOIN "Project" p ON p.id = x."A" JOIN "Tag" t ON t.id = x."B"
SELECT "select", "where it is" FROM "user"
SELECT count(*) FROM "Session"
SELECT what FROM "AuditLog"
SELECT name FROM "Organization"
INSERT INTO "Project" (id, "Name") VALUES ('new', 'New') RETURNING id, "Name"
UPDATE "User" SET email = email || '.org' RETURNING id, email
DELETE FROM "Task" WHERE id LIKE 't1%' RETURNING id
