-- Names that need care: 63 bytes, the same for 60 of them, unicode, spaces, quotes, reserved words; tables without a key, keys in
-- circles, everything published.
CREATE TABLE "Tenant ""Klinik""" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE TABLE "user" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "tenant id" bigint REFERENCES "Tenant ""Klinik""", "group" text, "ärztlich" boolean NOT NULL DEFAULT false);
CREATE TABLE "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0001" (id bigserial PRIMARY KEY, "user" bigint NOT NULL REFERENCES "user" ON DELETE CASCADE, n int);
CREATE TABLE "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0002" (id bigserial PRIMARY KEY, "user" bigint NOT NULL REFERENCES "user" ON DELETE CASCADE, n int);
CREATE TABLE "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0003" (id bigserial PRIMARY KEY,
  "eine_spalte_deren_name_so_lang_ist_wie_ein_name_sein_darf_00001" bigint NOT NULL CONSTRAINT "ein_schluessel_dessen_name_so_lang_ist_wie_er_sein_darf_0000001" REFERENCES "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0001",
  "eine_spalte_deren_name_so_lang_ist_wie_ein_name_sein_darf_00002" bigint CONSTRAINT "ein_schluessel_dessen_name_so_lang_ist_wie_er_sein_darf_0000002" REFERENCES "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0002" ON DELETE SET NULL);
CREATE TABLE "Überweisung für ""Ärzte""" ("Nr." text PRIMARY KEY, "user" bigint REFERENCES "user", "select" int, "'" text, "$1" text DEFAULT '$1');
CREATE TABLE "order" ("from" date NOT NULL, "to" date NOT NULL, "user" bigint NOT NULL REFERENCES "user", PRIMARY KEY ("from", "to", "user"));
CREATE TABLE "table" (a int, b text, "Überweisung" text REFERENCES "Überweisung für ""Ärzte""");
CREATE TABLE "left" (id int PRIMARY KEY, "right" int, "user" bigint NOT NULL REFERENCES "user");
CREATE TABLE "right" (id int PRIMARY KEY, "left" int REFERENCES "left" DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE "left" ADD FOREIGN KEY ("right") REFERENCES "right" DEFERRABLE INITIALLY DEFERRED;
CREATE VIEW "a view, ""quoted""" AS SELECT u."group", o."from" FROM "user" u JOIN "order" o ON o."user" = u.id;
CREATE PUBLICATION "every table" FOR ALL TABLES;
INSERT INTO "Tenant ""Klinik""" (name) VALUES ('A'), ('B'), ('C');
INSERT INTO "user" ("tenant id", "group") SELECT n % 3 + 1, 'g' || n FROM generate_series(1, 12) n;
INSERT INTO "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0001" ("user", n) SELECT u.id, n FROM "user" u, generate_series(1, 5) n;
INSERT INTO "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0002" ("user", n) SELECT u.id, n FROM "user" u, generate_series(1, 5) n;
INSERT INTO "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0003" ("eine_spalte_deren_name_so_lang_ist_wie_ein_name_sein_darf_00001", "eine_spalte_deren_name_so_lang_ist_wie_ein_name_sein_darf_00002")
  SELECT id, id FROM "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0001";
INSERT INTO "Überweisung für ""Ärzte""" SELECT 'Ü' || id || '''' || E'\\', id, 1, '''' FROM "user";
INSERT INTO "order" SELECT date '2026-01-01' + n, date '2026-02-01', u.id FROM "user" u, generate_series(1, 4) n;
INSERT INTO "table" SELECT n, 'b', "Nr." FROM "Überweisung für ""Ärzte""", generate_series(1, 3) n;
BEGIN; INSERT INTO "left" SELECT id, id, id FROM "user"; INSERT INTO "right" SELECT id, id FROM "user"; COMMIT;
