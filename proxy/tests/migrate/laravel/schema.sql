-- As Laravel makes it: teams with integer keys, nobody wrote a policy.
CREATE TABLE migrations (id serial PRIMARY KEY, migration varchar(255) NOT NULL, batch integer NOT NULL);
CREATE TABLE teams (id serial PRIMARY KEY, name varchar(255) NOT NULL, personal_team boolean NOT NULL);
CREATE TABLE members (id serial PRIMARY KEY, team_id integer NOT NULL, email varchar(255) NOT NULL, deleted_at timestamp(0));
ALTER TABLE members ADD CONSTRAINT members_team_id_foreign FOREIGN KEY (team_id) REFERENCES teams (id);
CREATE TABLE posts (id serial PRIMARY KEY, member_id integer NOT NULL REFERENCES members ON DELETE CASCADE, team_id integer, body text NOT NULL);
CREATE TABLE likes (post_id integer NOT NULL REFERENCES posts ON DELETE CASCADE, member_id integer NOT NULL REFERENCES members ON DELETE CASCADE);
CREATE TABLE media (id serial PRIMARY KEY, post_id integer REFERENCES posts ON DELETE SET NULL, team_id integer NOT NULL REFERENCES teams ON DELETE CASCADE, file text);
INSERT INTO teams (name, personal_team) SELECT 'Team ' || n, false FROM generate_series(1, 3) n;
INSERT INTO members (team_id, email) SELECT n % 3 + 1, 'm' || n FROM generate_series(1, 12) n;
INSERT INTO posts (member_id, team_id, body) SELECT m.id, CASE WHEN n > 1 THEN m.team_id END, 'post' || n FROM members m, generate_series(1, 5) n;
INSERT INTO likes SELECT p.id, p.member_id FROM posts p;
INSERT INTO media (post_id, team_id, file) SELECT p.id, m.team_id, 'f' FROM posts p JOIN members m ON m.id = p.member_id;
