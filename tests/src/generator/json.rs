//! JSON: functions in FROM, operators and paths in expressions.

use super::from::{From, columns};
use super::{Generator, Kind, Relation};

impl Generator {
    /// A function that gives rows, over what is in sight.
    pub(super) fn table_function(&mut self, visible: &[Relation]) -> From {
        let alias = self.alias();
        let value = self.expression(Kind::Json, visible, 0);
        // Some fail on a scalar, whose row one plan meets and another does not.
        let object = format!("CASE WHEN jsonb_typeof({value}) = 'object' THEN {value} END");
        let tags = self.expression(Kind::Tags, visible, 0);
        let (text, names, kinds): (String, &[&str], &[Kind]) = match self.random.below(8) {
            6 if self.major >= 17 => (
                format!(
                    "JSON_TABLE({value}, '$' COLUMNS (n int PATH '$.n', z jsonb PATH '$.k')) AS {alias}"
                ),
                &["n", "z"],
                &[Kind::Int, Kind::Json],
            ),
            6 | 7 => {
                let value = self.expression(Kind::Text, visible, 0);
                (
                    format!(
                        "xmltable('/v' PASSING xmlelement(NAME v, {value}) COLUMNS word text PATH '.') AS {alias}"
                    ),
                    &["word"],
                    &[Kind::Text],
                )
            }
            0 => (
                format!("jsonb_each_text({object}) AS {alias} (key, value)"),
                &["key", "value"],
                &[Kind::Text, Kind::Text],
            ),
            1 => (
                format!("jsonb_object_keys({object}) AS {alias} (key)"),
                &["key"],
                &[Kind::Text],
            ),
            2 => (
                format!("jsonb_path_query({object}, '$.*') AS {alias} (value)"),
                &["value"],
                &[Kind::Json],
            ),
            3 => (
                format!("jsonb_to_record({object}) AS {alias} (n int, z text)"),
                &["n", "z"],
                &[Kind::Int, Kind::Text],
            ),
            4 => (
                format!(
                    "jsonb_array_elements_text(to_jsonb({tags})) WITH ORDINALITY AS {alias} (tag, at)"
                ),
                &["tag"],
                &[Kind::Text],
            ),
            _ => (
                format!("unnest({tags}) AS {alias} (tag)"),
                &["tag"],
                &[Kind::Text],
            ),
        };
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        From {
            text,
            scope: vec![Relation {
                alias,
                columns: columns(&names, kinds),
            }],
        }
    }

    pub(super) fn computed_json(&mut self, scope: &[Relation], depth: usize) -> String {
        let value = self.expression(Kind::Json, scope, depth - 1);
        match self.random.below(8) {
            6 if self.major >= 17 => format!("JSON_QUERY({value}, '$.n' RETURNING jsonb)"),
            7 if self.major >= 16 => format!("JSON_OBJECT('k': {value} RETURNING jsonb)"),
            0 => format!("jsonb_set({value}, '{{n}}', '7'::jsonb)"),
            1 => format!("jsonb_strip_nulls({value})"),
            2 => {
                let kind = self.common_kind();
                let inner = self.expression(kind, scope, depth - 1);
                format!("jsonb_build_object('k', {inner}, 'o', {value})")
            }
            3 => format!("jsonb_path_query_array({value}, '$.n')"),
            4 => format!(
                "to_jsonb({})",
                self.expression(Kind::Tags, scope, depth - 1)
            ),
            _ => format!("({value} || '{{\"z\": 1}}'::jsonb)"),
        }
    }

    pub(super) fn json_condition(&mut self, scope: &[Relation], depth: usize) -> String {
        let value = self.expression(Kind::Json, scope, depth);
        match self.random.below(5) {
            0 => format!("({value} ? 'n')"),
            1 => format!("({value} @> '{{\"n\": 3}}'::jsonb)"),
            2 => format!("jsonb_path_exists({value}, '$.n ? (@ > 4)')"),
            3 => format!("(jsonb_typeof({value} -> 'n') = 'number')"),
            _ => format!("(({value} #>> '{{n}}') = '{}')", self.random.below(9)),
        }
    }
}
