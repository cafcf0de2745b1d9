-- Tables that inherit from one another, with rows of their own, and schemas whose names run together.
CREATE SCHEMA a_b;
CREATE SCHEMA a;
CREATE TABLE owners (user_id uuid PRIMARY KEY, org uuid NOT NULL);
CREATE TABLE documents (id bigserial PRIMARY KEY, user_id uuid NOT NULL, body text);
CREATE TABLE a_letters (stamp int, PRIMARY KEY (id)) INHERITS (documents);
CREATE TABLE a_b.c (id serial PRIMARY KEY, user_id uuid NOT NULL);
CREATE TABLE a.b_c (id serial PRIMARY KEY, document_id bigint REFERENCES documents);
INSERT INTO owners SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, ('d0000000-0000-0000-0000-00000000000' || n % 2)::uuid FROM generate_series(1, 6) n;
INSERT INTO documents (user_id, body) SELECT user_id, 'd' FROM owners;
INSERT INTO a.b_c (document_id) SELECT id FROM documents;
INSERT INTO a_letters (user_id, body) SELECT user_id, 'l' FROM owners;
INSERT INTO a_b.c (user_id) SELECT user_id FROM owners;
