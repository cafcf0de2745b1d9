SELECT "group", "ärztlich" FROM "user"
SELECT a.n, b."eine_spalte_deren_name_so_lang_ist_wie_ein_name_sein_darf_00001" FROM "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0001" a JOIN "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0003" b ON b."eine_spalte_deren_name_so_lang_ist_wie_ein_name_sein_darf_00001" = a.id
SELECT sum(n) FROM "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0002"
SELECT "Nr.", "'", "$1" FROM "Überweisung für ""Ärzte"""
SELECT "from", "to" FROM "order"
SELECT a, b FROM "table"
SELECT l.id FROM "left" l JOIN "right" r ON r.id = l."right"
SELECT "group", "from" FROM "a view, ""quoted"""
SELECT name FROM "Tenant ""Klinik"""
INSERT INTO "eine_tabelle_deren_name_so_lang_ist_wie_ein_name_sein_darf_0002" ("user", n) SELECT id, 7 FROM "user" LIMIT 1 RETURNING n
UPDATE "Überweisung für ""Ärzte""" SET "select" = 2 RETURNING "select"
DELETE FROM "order" WHERE "from" > '2026-01-03' RETURNING "from"
