-- Tables of users, no organisations; 40 users of four organisations-to-be, three of nobody.
CREATE TABLE profiles (user_id uuid PRIMARY KEY, org uuid);
CREATE TABLE plans (id int PRIMARY KEY, name text);
CREATE TABLE user_credits (user_id uuid PRIMARY KEY, credits int NOT NULL DEFAULT 0);
CREATE TABLE leads (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL, phone text, note json,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE campaigns (id bigserial PRIMARY KEY, user_id uuid NOT NULL, name text);
CREATE TABLE call_logs (
  id bigserial PRIMARY KEY, lead_id uuid REFERENCES leads ON DELETE CASCADE, seconds int, cost numeric(8,3));
CREATE TABLE campaign_leads (
  campaign_id bigint REFERENCES campaigns ON DELETE CASCADE, lead_id uuid NOT NULL REFERENCES leads ON DELETE CASCADE,
  PRIMARY KEY (campaign_id, lead_id));
CREATE TABLE user_phone_numbers (id serial PRIMARY KEY, user_id uuid, number text, changes int NOT NULL DEFAULT 0);
CREATE TABLE notes (user_id uuid, body text);

-- The trigger that a backfill must hold off: it counts every change.
CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.changes := OLD.changes + 1; RETURN NEW; END $$;
CREATE TRIGGER count_changes BEFORE UPDATE ON user_phone_numbers FOR EACH ROW EXECUTE FUNCTION count_changes();

INSERT INTO profiles SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid,
  CASE WHEN n <= 40 THEN ('b0000000-0000-0000-0000-00000000000' || n % 4)::uuid END FROM generate_series(1, 43) n;
INSERT INTO plans VALUES (1, 'free');
INSERT INTO user_credits SELECT user_id FROM profiles;
INSERT INTO leads (user_id, phone, note) SELECT p.user_id, '+1' || n, json_build_object('n', n)
  FROM profiles p, generate_series(1, 40) n;
INSERT INTO campaigns (user_id, name) SELECT user_id, 'c' FROM profiles;
INSERT INTO call_logs (lead_id, seconds, cost) SELECT id, n, n * 0.1 FROM leads, generate_series(1, 3) n;
INSERT INTO call_logs (seconds) SELECT n FROM generate_series(1, 7) n;
INSERT INTO campaign_leads SELECT c.id, l.id FROM campaigns c JOIN leads l USING (user_id);
INSERT INTO user_phone_numbers (user_id, number) SELECT user_id, '1' FROM profiles;
INSERT INTO notes SELECT user_id, 'x' FROM profiles;

ALTER TABLE campaigns ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON campaigns USING (true);
