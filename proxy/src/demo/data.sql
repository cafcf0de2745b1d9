-- Two organisations with the same amount of everything. The setting `demo.scale` says how many
-- leads each has; all else follows from it. Nothing is random: the same scale, the same rows.

CREATE FUNCTION pg_temp.scale() RETURNS int LANGUAGE sql AS
  $$ SELECT current_setting('demo.scale')::int $$;
CREATE FUNCTION pg_temp.id(kind text, org uuid, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
  $$ SELECT md5(kind || org || n)::uuid $$;
-- A number from 0 to below `modulus` that looks random and isn't.
CREATE FUNCTION pg_temp.pick(kind text, n bigint, modulus int) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$ SELECT ('x' || left(md5(kind || n), 7))::bit(28)::int % modulus $$;

INSERT INTO public.plans VALUES
  (1, 'free', 0, '{calls}'),
  (2, 'team', 49.50, '{calls,campaigns}'),
  (3, 'enterprise', 499, '{calls,campaigns,"knowledge base"}');

INSERT INTO public.organizations VALUES
  ('a0000000-0000-0000-0000-000000000001', 'Acme Calls', 2, '{"timezone": "Europe/Berlin"}', '2025-01-01 09:00+00'),
  ('b0000000-0000-0000-0000-000000000002', 'Bolt Dialers', 3, '{"timezone": "America/New_York"}', '2025-01-02 09:00+00');

INSERT INTO public.user_credits VALUES
  ('0a000000-0000-0000-0000-00000000000a', 120, '2026-01-01 00:00+00'),
  ('0b000000-0000-0000-0000-00000000000b', 340, '2026-01-01 00:00+00');

INSERT INTO public.agents
SELECT pg_temp.id('agent', o.id, n), o.id, 'agent' || n || '@' || split_part(lower(o.name), ' ', 1) || '.example',
       (ARRAY['Ada', 'Ben', 'Cleo', 'Dan', 'Eve'])[1 + n % 5] || ' ' || split_part(o.name, ' ', 1), n % 7 <> 0,
       ARRAY['voice', (ARRAY['sales', 'support', 'billing'])[1 + n % 3]], date '2024-01-01' + n * 11
FROM public.organizations o, generate_series(1, 20) n;

INSERT INTO public.agent_configurations
SELECT pg_temp.id('configuration', org_id, row_number() OVER (PARTITION BY org_id ORDER BY id)), org_id, id, 'neutral',
       'You are ' || name || '.', jsonb_build_object('speed', 1.0, 'interruptible', active)
FROM public.agents;

INSERT INTO public.campaigns
SELECT pg_temp.id('campaign', o.id, n), o.id, pg_temp.id('agent', o.id, 1 + n % 20), 'Campaign ' || n,
       1000 * n, date '2026-01-01' + n * 7, date '2026-01-01' + n * 7 + 30
FROM public.organizations o, generate_series(1, 10) n;

INSERT INTO public.contacts
SELECT pg_temp.id('contact', o.id, n), o.id, 'Contact ' || n, 'contact' || n || '@customer.example',
       '+49' || (1700000000 + n), date '1960-01-01' + pg_temp.pick('born', n, 15000),
       CASE WHEN n % 4 > 0 THEN jsonb_build_object('vip', n % 10 = 0, 'language', (ARRAY['en', 'de', 'fr'])[1 + n % 3]) END
FROM public.organizations o, generate_series(1, pg_temp.scale() / 2) n;

-- The same phone numbers in both organisations, as it is in life.
INSERT INTO public.leads
SELECT pg_temp.id('lead', o.id, n), o.id, CASE WHEN n % 2 = 0 THEN pg_temp.id('contact', o.id, n / 2) END,
       '+49' || (1700000000 + n), CASE WHEN n % 9 > 0 THEN 'Lead ' || n END,
       CASE WHEN n % 8 > 0 THEN pg_temp.pick('score', n, 101) END,
       (enum_range(NULL::public.call_status))[1 + pg_temp.pick('status', n, 5)],
       CASE WHEN n % 6 > 0 THEN ARRAY['t' || n % 3, 't' || n % 5] END,
       CASE WHEN n % 10 > 0 THEN jsonb_build_object('source', (ARRAY['web', 'fair', 'referral'])[1 + n % 3], 'n', n % 7) END,
       timestamptz '2026-01-01 00:00+00' + n * interval '17 minutes'
FROM public.organizations o, generate_series(1, pg_temp.scale()) n;

INSERT INTO public.campaign_leads
SELECT pg_temp.id('campaign', o.id, 1 + n % 10), pg_temp.id('lead', o.id, n), o.id, n
FROM public.organizations o, generate_series(1, pg_temp.scale()) n;

INSERT INTO public.calls (org_id, lead_id, agent_id, status, seconds, cost, recording, started_at)
SELECT o.id, pg_temp.id('lead', o.id, 1 + n % pg_temp.scale()), pg_temp.id('agent', o.id, 1 + n % 20),
       (enum_range(NULL::public.call_status))[1 + pg_temp.pick('call', n, 5)],
       CASE WHEN n % 5 > 0 THEN pg_temp.pick('seconds', n, 900) END, pg_temp.pick('cost', n, 20000) / 10000.0,
       CASE WHEN n % 50 = 0 THEN decode(md5('recording' || n), 'hex') END,
       timestamptz '2026-02-01 08:00+00' + n * interval '5 minutes'
FROM generate_series(1, 2 * pg_temp.scale()) n, public.organizations o;

INSERT INTO public.call_logs (org_id, call_id, at, event, body)
SELECT org_id, id, started_at + k * interval '10 seconds', (ARRAY['dialled', 'answered', 'ended'])[k],
       CASE k WHEN 3 THEN jsonb_build_object('seconds', seconds, 'status', status) END
FROM public.calls, generate_series(1, 3) k;

INSERT INTO public.cold_call_logs (org_id, phone, outcome, attempts, called_at)
SELECT o.id, '+44' || (2000000000 + n), (ARRAY['no answer', 'not interested', 'call back'])[1 + n % 3], 1 + n % 4,
       timestamptz '2026-02-01 08:00+00' + n * interval '3 minutes'
FROM generate_series(1, pg_temp.scale()) n, public.organizations o;

INSERT INTO public.knowledge_base
SELECT pg_temp.id('base', o.id, n), o.id, (ARRAY['Products', 'Objections', 'Billing'])[n], (ARRAY['en', 'en', 'de'])[n]
FROM public.organizations o, generate_series(1, 3) n;

INSERT INTO public.knowledge_base_documents
SELECT pg_temp.id('document', o.id, n), o.id, pg_temp.id('base', o.id, 1 + n % 3), 'Document ' || n,
       sha256(convert_to(o.name || n, 'UTF8')), n % 4 > 0
FROM public.organizations o, generate_series(1, greatest(pg_temp.scale() / 20, 1)) n;

INSERT INTO public.knowledge_base_chunks (org_id, document_id, ordinal, content, embedding)
SELECT org_id, id, n, title || ', part ' || n, ARRAY[n, n * 0.5, 1.0 / n]::real[]
FROM public.knowledge_base_documents, generate_series(1, 8) n;

INSERT INTO public.appointments
SELECT pg_temp.id('appointment', o.id, n), o.id, pg_temp.id('lead', o.id, n), pg_temp.id('agent', o.id, 1 + n % 20),
       tstzrange(day, day + interval '30 minutes'), CASE WHEN n % 3 = 0 THEN 'bring papers' END
FROM public.organizations o, generate_series(1, pg_temp.scale() / 4) n,
     LATERAL (SELECT timestamptz '2026-03-01 09:00+00' + n * interval '1 hour') AS at (day);

INSERT INTO public.appointment_bookings
SELECT pg_temp.id('booking', o.id, n), o.id, pg_temp.id('appointment', o.id, n), pg_temp.id('contact', o.id, n),
       (enum_range(NULL::public.booking_status))[1 + n % 3], timestamptz '2026-02-20 09:00+00' + n * interval '10 minutes'
FROM public.organizations o, generate_series(1, pg_temp.scale() / 5) n;

INSERT INTO public.appointment_holds
SELECT pg_temp.id('appointment', o.id, n), o.id, 'web', timestamptz '2026-03-01 09:00+00' + n * interval '1 minute'
FROM public.organizations o, generate_series(pg_temp.scale() / 5 + 1, pg_temp.scale() / 4) n;

INSERT INTO public.sms_confirmation_logs (org_id, booking_id, phone, delivered, sent_at)
SELECT org_id, id, '+49170' || left(id::text, 4), CASE status WHEN 'pending' THEN NULL ELSE status = 'confirmed' END,
       booked_at + interval '1 minute'
FROM public.appointment_bookings ORDER BY booked_at, org_id;

INSERT INTO public.payments
SELECT pg_temp.id('payment', o.id, n), o.id, (10000 + pg_temp.pick('amount', n, 90000)) / 100.0, 'EUR',
       CASE WHEN n % 6 > 0 THEN date '2026-01-01' + n END, upper(left(o.name, 1)) || '-' || to_char(n, 'FM00000')
FROM public.organizations o, generate_series(1, greatest(pg_temp.scale() / 10, 1)) n;
