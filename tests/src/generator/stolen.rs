//! Statements that must be refused, or show no more than row level security does: functions that run SQL
//! of their own, read what belongs to all, or change who asks.

use super::Generator;

const CALLS: &[&str] = &[
    "SELECT query_to_xml('SELECT * FROM {}', true, true, '')",
    "SELECT query_to_xml_and_xmlschema('TABLE {}', true, true, '')",
    "SELECT table_to_xml('{}', true, true, '')",
    "SELECT schema_to_xml('public', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT word FROM ts_stat('SELECT to_tsvector(t::text) FROM {} t')",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery FROM {}')",
    "SELECT * FROM crosstab('SELECT 1, 2, org_id::text FROM {}') AS c (a int, b text)",
    "SELECT * FROM dblink('dbname=postgres', 'SELECT 1') AS d (n int)",
    "SELECT * FROM xpath_table('id', 'raw_json', '{}', '/v', 'true') AS x (id int, v text)",
    "SELECT pg_relation_size('{}')",
    "SELECT pg_table_size('{}'::regclass)",
    "SELECT reltuples FROM pg_class WHERE relname = '{}'",
    "SELECT most_common_vals FROM pg_stats WHERE tablename = '{}'",
    "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = '{}'",
    "SELECT query FROM pg_stat_activity",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT currval('made_ids')",
    "SELECT set_config('request.jwt.claims', '{}', false) FROM {}",
    "SELECT set_config('ro' || 'le', 'postgres', true)",
    "UPDATE pg_settings SET setting = '' WHERE name = 'request.jwt.claims'",
    "SELECT count(pg_notify('jobs', t::text)) FROM {} t",
    "SELECT definer_count()",
    "SELECT id FROM {} t WHERE cheap_leak(t::text)",
    "SELECT id FROM {} t WHERE t::text === 'x'",
    "SELECT gather(t::text) FROM {} t",
    "SELECT * FROM all_leads()",
    "SELECT * FROM lead_counts",
    "SELECT * FROM internal_secrets",
    "SELECT * FROM hidden.ledger",
    "TRUNCATE {}",
    "CREATE TABLE public.stolen AS SELECT * FROM {}",
    "CREATE VIEW public.stolen AS SELECT * FROM {}",
    "SELECT * INTO public.stolen FROM {}",
    "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
    "DO $$ BEGIN DELETE FROM {}; END $$",
];

impl Generator {
    pub(super) fn stolen(&mut self) -> String {
        let table = *self.random.pick(&["leads", "call_logs", "notes", "events"]);
        self.random.pick(CALLS).replace("{}", table)
    }
}
