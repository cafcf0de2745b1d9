-- The system that pgwarden comes from: 43 tables of users on Supabase, no organisations.
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text NOT NULL, raw_app_meta_data jsonb NOT NULL DEFAULT '{}', raw_user_meta_data jsonb NOT NULL DEFAULT '{}');
CREATE TABLE user_organizations (user_id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE, org_id uuid NOT NULL);

-- Critical.
CREATE TABLE leads (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES auth.users, phone text NOT NULL, name text, tag text,
  created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX leads_user ON leads (user_id);
CREATE TABLE call_logs (id bigserial PRIMARY KEY, lead_id uuid REFERENCES leads ON DELETE CASCADE, seconds int, cost numeric(10,4), transcript jsonb, tag text,
  started_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX call_logs_lead ON call_logs (lead_id);
CREATE TABLE calls (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL, lead_id uuid REFERENCES leads ON DELETE SET NULL, state text NOT NULL DEFAULT 'queued');
CREATE TABLE knowledge_base (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid, title text NOT NULL, org_id text);
CREATE TABLE knowledge_base_changelog (id bigserial PRIMARY KEY, kb_id uuid NOT NULL REFERENCES knowledge_base ON DELETE CASCADE, change jsonb NOT NULL);
CREATE TABLE kb_sync_log (id bigserial PRIMARY KEY, kb_id uuid REFERENCES knowledge_base ON DELETE CASCADE, synced_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE campaigns (id bigserial PRIMARY KEY, user_id uuid NOT NULL, name text NOT NULL, active boolean NOT NULL DEFAULT true);
CREATE TABLE campaign_leads (campaign_id bigint NOT NULL REFERENCES campaigns ON DELETE CASCADE, lead_id uuid NOT NULL REFERENCES leads ON DELETE CASCADE,
  PRIMARY KEY (campaign_id, lead_id));
CREATE TABLE voicemail_audit_log (id bigserial PRIMARY KEY, call_log_id bigint NOT NULL REFERENCES call_logs ON DELETE CASCADE, outcome text);

-- Secondary, with something particular about them.
CREATE TABLE campaign_phone_numbers (campaign_id bigint NOT NULL REFERENCES campaigns ON DELETE CASCADE, number text NOT NULL, PRIMARY KEY (campaign_id, number));
CREATE TABLE campaign_summaries (campaign_id bigint PRIMARY KEY REFERENCES campaigns ON DELETE CASCADE, summary jsonb);
CREATE TABLE knowledge_base_documents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), kb_id uuid NOT NULL REFERENCES knowledge_base ON DELETE CASCADE, body text);
CREATE TABLE knowledge_base_chunks (document_id uuid NOT NULL REFERENCES knowledge_base_documents ON DELETE CASCADE, number int NOT NULL, body text, PRIMARY KEY (document_id, number));
CREATE TABLE embeddings (document_id uuid NOT NULL, number int NOT NULL, vector real[] NOT NULL, PRIMARY KEY (document_id, number),
  FOREIGN KEY (document_id, number) REFERENCES knowledge_base_chunks ON DELETE CASCADE);
CREATE TABLE sentiment_analysis (call_log_id bigint PRIMARY KEY REFERENCES call_logs ON DELETE CASCADE, score double precision);
CREATE TABLE notification_rate_limits (user_id uuid NOT NULL, channel text NOT NULL, hits int NOT NULL DEFAULT 0);
CREATE TABLE user_phone_numbers (id serial PRIMARY KEY, user_id uuid NOT NULL, number text NOT NULL UNIQUE, changes int NOT NULL DEFAULT 0);
CREATE TABLE compliance_audit_logs (id bigserial PRIMARY KEY, user_id uuid, what jsonb NOT NULL);
CREATE TABLE telephony_audit_log (id bigserial PRIMARY KEY, user_id uuid, what text NOT NULL, at timestamptz NOT NULL DEFAULT now());
DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['agent_configurations', 'cold_call_logs', 'contacts', 'consent_records', 'credential_tokens', 'credit_transactions',
    'customer_twilio_keys', 'daily_lead_uploads', 'dnc_list', 'notification_history', 'notification_templates', 'onboarding_events', 'payment_events_log',
    'payments', 'phone_assistants', 'usage_events', 'usage_records', 'user_active_calls', 'user_twilio_subaccounts', 'billing_cycles', 'call_lists'] LOOP
    EXECUTE format('CREATE TABLE %I (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL, payload jsonb NOT NULL DEFAULT ''{}'', created_at timestamptz NOT NULL DEFAULT now())', t);
  END LOOP;
END $$;
-- Of users, and they stay so.
CREATE TABLE user_credits (user_id uuid PRIMARY KEY REFERENCES auth.users, credits int NOT NULL DEFAULT 0);
CREATE TABLE user_subscriptions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL, plan text NOT NULL);
CREATE TABLE customers (user_id uuid PRIMARY KEY, stripe_id text);

CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changes := OLD.changes + 1; RETURN NEW; END $$;
CREATE TRIGGER count_changes BEFORE UPDATE ON user_phone_numbers FOR EACH ROW EXECUTE FUNCTION count_changes();
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$;
CREATE TRIGGER forbid BEFORE UPDATE OR DELETE ON compliance_audit_logs FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE VIEW recent_calls AS SELECT c.id, c.seconds, l.phone FROM call_logs c JOIN leads l ON l.id = c.lead_id;

-- Row level security here and there, and by the wrong claim.
CREATE FUNCTION auth_org_id() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'user_metadata' ->> 'org_id')::uuid $$;
DO $$ DECLARE t text; BEGIN
  FOR t IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname NOT IN ('call_logs', 'calls', 'embeddings', 'user_organizations') LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = t::regclass AND attname = 'user_id') THEN
      EXECUTE format('CREATE POLICY own ON %I USING (user_id = ((current_setting(''request.jwt.claims'', true)::jsonb ->> ''sub'')::uuid))', t);
    END IF;
  END LOOP;
END $$;
CREATE POLICY everybody ON campaigns FOR SELECT USING (true);

INSERT INTO auth.users SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n || '@x' FROM generate_series(1, 1000) n;
-- The last fifty belong to nobody.
INSERT INTO user_organizations SELECT id, ('b0000000-0000-0000-0000-' || lpad((right(id::text, 12)::int % 20)::text, 12, '0'))::uuid
  FROM auth.users WHERE right(id::text, 12)::int <= 950;
INSERT INTO leads (user_id, phone, name) SELECT id, '+1' || n, 'lead ' || n FROM auth.users, generate_series(1, 3) n;
INSERT INTO call_logs (lead_id, seconds, cost, transcript) SELECT CASE WHEN n % 400 > 0 THEN l.id END, n % 600, n * 0.0013, jsonb_build_object('n', n)
  FROM generate_series(1, 20000) n JOIN (SELECT id, row_number() OVER () AS at FROM leads) l ON l.at = n % 3000 + 1;
INSERT INTO calls (user_id, lead_id) SELECT user_id, id FROM leads LIMIT 500;
INSERT INTO knowledge_base (user_id, title, org_id) SELECT u.id, 'kb', o.org_id::text FROM auth.users u LEFT JOIN user_organizations o ON o.user_id = u.id LIMIT 300;
INSERT INTO knowledge_base_changelog (kb_id, change) SELECT id, '{"a": 1}' FROM knowledge_base;
INSERT INTO kb_sync_log (kb_id) SELECT id FROM knowledge_base;
INSERT INTO kb_sync_log (kb_id) VALUES (NULL);
INSERT INTO knowledge_base_documents (kb_id, body) SELECT id, 'text' FROM knowledge_base;
INSERT INTO knowledge_base_chunks SELECT id, n, 'chunk' FROM knowledge_base_documents, generate_series(1, 3) n;
INSERT INTO embeddings SELECT document_id, number, '{0.5,1}' FROM knowledge_base_chunks;
INSERT INTO campaigns (user_id, name) SELECT id, 'campaign' FROM auth.users;
INSERT INTO campaign_leads SELECT c.id, l.id FROM campaigns c JOIN leads l USING (user_id);
INSERT INTO campaign_phone_numbers SELECT id, '+1' FROM campaigns;
INSERT INTO campaign_summaries SELECT id, '{}' FROM campaigns;
INSERT INTO voicemail_audit_log (call_log_id) SELECT id FROM call_logs WHERE id % 10 = 0;
INSERT INTO sentiment_analysis SELECT id, random() FROM call_logs WHERE id % 10 = 1;
INSERT INTO notification_rate_limits SELECT id, 'sms' FROM auth.users;
INSERT INTO user_phone_numbers (user_id, number) SELECT id, email FROM auth.users;
INSERT INTO compliance_audit_logs (user_id, what) SELECT id, '{}' FROM auth.users;
INSERT INTO telephony_audit_log (user_id, what) SELECT id, 'x' FROM auth.users;
INSERT INTO user_credits SELECT id FROM auth.users;
INSERT INTO user_subscriptions (user_id, plan) SELECT id, 'free' FROM auth.users;
INSERT INTO customers SELECT id, 'cus_' || id FROM auth.users;
DO $$ DECLARE t text; BEGIN
  FOR t IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'payload' WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' LOOP
    EXECUTE format('INSERT INTO %I (user_id, payload) SELECT id, jsonb_build_object(''n'', email) FROM auth.users', t);
  END LOOP;
END $$;
ANALYZE;
