-- As Prisma makes it: text keys that the application gives, names in mixed case.
CREATE TYPE "Role" AS ENUM ('OWNER', 'MEMBER');
CREATE TABLE "_prisma_migrations" (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL);
CREATE TABLE "Organization" (id text NOT NULL, name text NOT NULL, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, CONSTRAINT "Organization_pkey" PRIMARY KEY (id));
CREATE TABLE "User" (id text PRIMARY KEY, email text NOT NULL, role "Role" NOT NULL DEFAULT 'MEMBER', "organizationId" text,
  CONSTRAINT "User_organizationId_fkey" FOREIGN KEY ("organizationId") REFERENCES "Organization" (id) ON DELETE SET NULL ON UPDATE CASCADE);
CREATE UNIQUE INDEX "User_email_key" ON "User" (email);
CREATE TABLE "Project" (id text PRIMARY KEY, "Name" text NOT NULL, "organizationId" text NOT NULL,
  CONSTRAINT "Project_organizationId_fkey" FOREIGN KEY ("organizationId") REFERENCES "Organization" (id) ON DELETE RESTRICT ON UPDATE CASCADE);
CREATE TABLE "Task" (id text PRIMARY KEY, "projectId" text NOT NULL, "assigneeId" text, "end" timestamp(3), "dueAt" timestamp(3) with time zone, meta json,
  CONSTRAINT "Task_projectId_fkey" FOREIGN KEY ("projectId") REFERENCES "Project" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT "Task_assigneeId_fkey" FOREIGN KEY ("assigneeId") REFERENCES "User" (id) ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE "Tag" (id serial PRIMARY KEY, label text NOT NULL, "organizationId" varchar(30));
CREATE TABLE "_ProjectToTag" ("A" text NOT NULL REFERENCES "Project" (id) ON DELETE CASCADE ON UPDATE CASCADE, "B" integer NOT NULL REFERENCES "Tag" (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE UNIQUE INDEX "_ProjectToTag_AB_unique" ON "_ProjectToTag" ("A", "B");
CREATE TABLE "user" ("userId" text PRIMARY KEY REFERENCES "User" (id), "select" text, "where it is" text);
CREATE TABLE "Session" (id text PRIMARY KEY, "userId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE, "sessionToken" text NOT NULL UNIQUE);
CREATE VIEW "TaskList" AS SELECT t.id, p."Name" FROM "Task" t JOIN "Project" p ON p.id = t."projectId";
CREATE TABLE "AuditLog" (id text PRIMARY KEY, "userId" text REFERENCES "User" (id), what text NOT NULL);
CREATE FUNCTION "refuseUpdates"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no updates'; END $$;
CREATE TRIGGER "Refuse" BEFORE UPDATE ON "AuditLog" FOR EACH ROW EXECUTE FUNCTION "refuseUpdates"();
CREATE TRIGGER "Was off" BEFORE UPDATE ON "AuditLog" FOR EACH ROW EXECUTE FUNCTION "refuseUpdates"();
ALTER TABLE "AuditLog" DISABLE TRIGGER "Was off";
-- Half done, and reads what users can edit.
CREATE FUNCTION "auth_organizationId"() RETURNS text LANGUAGE sql STABLE AS
  $$ SELECT current_setting('request.jwt.claims', true)::jsonb -> 'user_metadata' ->> 'organizationId' $$;
ALTER TABLE "Tag" ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON "Tag" USING ("organizationId" = "auth_organizationId"());

INSERT INTO "Organization" (id, name) SELECT 'org' || n, 'Org ' || n FROM generate_series(1, 3) n;
INSERT INTO "User" (id, email, "organizationId") SELECT 'u' || n, 'u' || n || '@x', 'org' || n % 3 + 1 FROM generate_series(1, 30) n;
INSERT INTO "Project" SELECT 'p' || n, 'P' || n, 'org' || n % 3 + 1 FROM generate_series(1, 30) n;
INSERT INTO "Task" (id, "projectId", "assigneeId", meta) SELECT 't' || n, 'p' || n % 30 + 1, 'u' || n % 30 + 1, '{"a": 1, "a": "\u0000"}' FROM generate_series(1, 300) n;
INSERT INTO "Tag" (label, "organizationId") SELECT 'tag' || n, 'org' || n % 3 + 1 FROM generate_series(1, 6) n;
INSERT INTO "_ProjectToTag" SELECT p.id, t.id FROM "Project" p JOIN "Tag" t USING ("organizationId");
INSERT INTO "user" SELECT id, 's', 'w' FROM "User";
INSERT INTO "Session" SELECT 's' || id, id, md5(id) FROM "User";
INSERT INTO "AuditLog" SELECT 'a' || id, id, 'login' FROM "User";
