-- A Supabase project before organisations were meant: rows of users, policies of users, an organisation here and there that one
-- policy takes from what users write themselves. Schemas and roles of the platform are beside it.
SET statement_timeout = 0; SET check_function_bodies = false; SET client_min_messages = warning;
CREATE SCHEMA auth; CREATE SCHEMA storage; CREATE SCHEMA extensions; CREATE SCHEMA billing; CREATE SCHEMA api;
CREATE EXTENSION moddatetime WITH SCHEMA extensions;
CREATE EXTENSION citext WITH SCHEMA extensions;
DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['anon NOLOGIN', 'authenticated NOLOGIN', 'service_role NOLOGIN BYPASSRLS', 'authenticator LOGIN NOINHERIT'] LOOP
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = split_part(r, ' ', 1)) THEN EXECUTE 'CREATE ROLE ' || r; END IF;
END LOOP; END $$;
GRANT authenticated TO tenant_app;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email varchar(255), raw_app_meta_data jsonb, raw_user_meta_data jsonb);
CREATE TABLE auth.identities (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE);
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ select (auth.jwt() ->> 'sub')::uuid $$;
CREATE TABLE storage.objects (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), bucket_id text, name text, owner uuid);
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
CREATE TABLE public.organizations (id text PRIMARY KEY, parent_id text REFERENCES public.organizations ON DELETE CASCADE, name text NOT NULL, slug extensions.citext NOT NULL UNIQUE);
CREATE TABLE public.organization_members (organization_id text NOT NULL REFERENCES public.organizations ON DELETE CASCADE, user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE, role text NOT NULL DEFAULT 'member', PRIMARY KEY (organization_id, user_id));
CREATE TABLE public.profiles (id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE, username text, avatar_url text, updated_at timestamptz);
CREATE TABLE public.projects (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES auth.users, partner_organization_id text REFERENCES public.organizations ON DELETE SET NULL, organization_id text, name text NOT NULL, updated_at timestamptz NOT NULL DEFAULT '2026-01-01');
CREATE TABLE public.documents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), project_id uuid NOT NULL REFERENCES public.projects ON DELETE CASCADE, parent_id uuid REFERENCES public.documents ON DELETE SET NULL, title text, content jsonb NOT NULL DEFAULT '{}', words int GENERATED ALWAYS AS (coalesce(array_length(regexp_split_to_array(title, ' '), 1), 0)) STORED, updated_at timestamptz NOT NULL DEFAULT '2026-01-01');
CREATE INDEX documents_content ON public.documents USING gin (content jsonb_path_ops);
CREATE TABLE public.document_shares (document_id uuid NOT NULL REFERENCES public.documents ON DELETE CASCADE, user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE, PRIMARY KEY (document_id, user_id));
CREATE UNLOGGED TABLE public.presence (document_id uuid NOT NULL REFERENCES public.documents ON DELETE CASCADE, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE billing.prices (id text PRIMARY KEY, unit_amount bigint);
CREATE TABLE billing.subscriptions (id text PRIMARY KEY, organization_id text NOT NULL, price_id text REFERENCES billing.prices);
CREATE FUNCTION public.is_member(org text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS
  $$ select exists (select 1 from public.organization_members m where m.organization_id = org and m.user_id = auth.uid()) $$;
CREATE TRIGGER touch BEFORE UPDATE ON public.projects FOR EACH ROW EXECUTE FUNCTION extensions.moddatetime (updated_at);
CREATE TRIGGER touch BEFORE UPDATE ON public.documents FOR EACH ROW EXECUTE FUNCTION extensions.moddatetime (updated_at);
CREATE FUNCTION public.handle_new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS
  $$ begin insert into public.profiles (id, username) values (new.id, new.email); return new; end $$;
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Own profile" ON public.profiles TO authenticated USING ((SELECT auth.uid()) = id) WITH CHECK ((SELECT auth.uid()) = id);
ALTER TABLE public.projects ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Own projects" ON public.projects TO authenticated USING ((SELECT auth.uid()) = user_id) WITH CHECK ((SELECT auth.uid()) = user_id);
CREATE POLICY "Projects of the organization" ON public.projects FOR SELECT TO authenticated USING (organization_id = (auth.jwt() -> 'user_metadata' ->> 'organization_id'));
ALTER TABLE public.documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Documents of projects" ON public.documents TO authenticated USING (EXISTS (SELECT FROM public.projects p WHERE p.id = project_id)) WITH CHECK (true);
CREATE POLICY "Shared" ON public.documents FOR SELECT TO authenticated USING (id IN (SELECT s.document_id FROM public.document_shares s WHERE s.user_id = (SELECT auth.uid())));
ALTER TABLE billing.subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Members" ON billing.subscriptions FOR SELECT TO authenticated USING (public.is_member(organization_id));
CREATE VIEW api.project_list AS SELECT p.id, p.name, count(d.id) AS documents FROM public.projects p LEFT JOIN public.documents d ON d.project_id = p.id GROUP BY p.id;
GRANT USAGE ON SCHEMA public, auth, billing, api, extensions TO authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, billing, api TO authenticated, service_role;
INSERT INTO auth.users (id, email) SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n FROM generate_series(1, 12) n;
INSERT INTO public.organizations (id, parent_id, name, slug) VALUES ('org_a', NULL, 'A', 'a'), ('org_b', 'org_a', 'B', 'b'), ('org_c', NULL, 'C', 'c');
INSERT INTO public.organization_members SELECT 'org_' || substr('abc', (n % 3 + 1)::int, 1), ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid FROM generate_series(1, 12) n;
INSERT INTO public.projects (user_id, partner_organization_id, organization_id, name) SELECT u.id, 'org_c', CASE WHEN n % 2 = 0 THEN m.organization_id END, 'P' || n FROM auth.users u JOIN public.organization_members m ON m.user_id = u.id, generate_series(1, 3) n;
INSERT INTO public.documents (project_id, title, content) SELECT id, 'a title of ' || n, jsonb_build_object('n', n) FROM public.projects, generate_series(1, 4) n;
UPDATE public.documents d SET parent_id = (SELECT id FROM public.documents o WHERE o.project_id = d.project_id ORDER BY id LIMIT 1) WHERE title LIKE '%4';
INSERT INTO public.document_shares SELECT d.id, p.user_id FROM public.documents d JOIN public.projects p ON p.id = d.project_id WHERE title LIKE '%1';
INSERT INTO public.presence (document_id) SELECT id FROM public.documents WHERE title LIKE '%2';
INSERT INTO billing.prices VALUES ('price_1', 100);
INSERT INTO billing.subscriptions SELECT 'sub_' || id, id, 'price_1' FROM public.organizations;
