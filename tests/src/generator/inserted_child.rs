//! INSERT into a table that is scoped by its parent: the parent's key comes as a constant, out of a column,
//! out of a query, or is computed.

use super::tables::TABLES;
use super::{Generator, Kind, Relation};

impl Generator {
    pub(super) fn insert_child(&mut self, id: usize) -> String {
        let name = *self.random.pick(&[
            "knowledge_base_chunks",
            "knowledge_base_chunks",
            "knowledge_base_chunks",
            "chunk_texts",
        ]);
        let source = self.children(id);
        let mut text = format!("INSERT INTO {name} (id, document_id, content) {source}");
        if name != "chunk_texts" && self.random.chance(25) {
            text += *self.random.pick(&[
                " ON CONFLICT DO NOTHING",
                " ON CONFLICT (id) DO NOTHING",
                " ON CONFLICT (id) DO UPDATE SET content = excluded.content",
            ]);
        }
        if self.random.chance(70) {
            let scope = [Relation {
                alias: name.to_owned(),
                columns: super::from::columns(
                    &["id".into(), "document_id".into(), "content".into()],
                    &[Kind::Int, Kind::Int, Kind::Text],
                ),
            }];
            text += &format!(" RETURNING id, {}", self.expression(Kind::Text, &scope, 1));
        }
        text
    }

    fn children(&mut self, id: usize) -> String {
        let parent = 1 + self.random.below(40);
        let content = self.literal(Kind::Text);
        let table = |name: &str| {
            let found = TABLES.iter().find(|table| table.name == name);
            found.expect("the table is in the list").scope()
        };
        let of = |alias: &str, name: &str| Relation {
            alias: alias.to_owned(),
            columns: table(name),
        };
        let documents = [of("d", "knowledge_base_documents")];
        let filter = self.condition(&documents, 2);
        match self.random.below(10) {
            0..3 => format!("VALUES ({id}, {parent}, {content})"),
            3 => {
                let next = id + 1;
                format!(
                    "VALUES ({id}, {parent}, {content}), ({next}, (SELECT max(d.id) FROM knowledge_base_documents d WHERE {filter}), {content})"
                )
            }
            4 => {
                let scope = [of("c", "knowledge_base_chunks")];
                let filter = self.condition(&scope, 1);
                format!(
                    "SELECT 6100 + c.id, c.document_id, c.content FROM knowledge_base_chunks c WHERE {filter}"
                )
            }
            5 => {
                let scope = [of("s", "campaigns")];
                let filter = self.condition(&scope, 1);
                format!("SELECT 6100 + s.id, s.id, s.name FROM public.campaigns s WHERE {filter}")
            }
            6 => {
                let value = self.expression(Kind::Text, &documents, 1);
                format!(
                    "SELECT 6100 + d.id, CASE WHEN d.id < {parent} THEN d.id ELSE coalesce(d.id, {parent}) END, {value} FROM knowledge_base_documents d WHERE {filter}"
                )
            }
            7 => format!(
                "WITH w AS (SELECT d.id, d.title FROM knowledge_base_documents d WHERE {filter}) SELECT 6100 + w.id, w.id, w.title FROM w"
            ),
            8 => format!(
                "(SELECT 6100 + d.id, d.id, d.title FROM knowledge_base_documents d WHERE {filter}) UNION ALL VALUES ({id}, {parent}, {content}::text)"
            ),
            _ => format!(
                "SELECT 6100 + d.id, d.id, d.title FROM knowledge_base_documents d WHERE {filter}"
            ),
        }
    }
}
