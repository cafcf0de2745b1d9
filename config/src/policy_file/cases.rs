//! `[[test]]`: the policy's own test cases.

use pgwarden_policy::rules::{Expect, PolicyTest};
use serde_json::{Map, Number, Value as Json};

use crate::document::{Node, Value};
use crate::reader::{Complaint, Section};
use crate::values::{choice, word};

use super::Reader;

const EXPECTATIONS: &[(&str, Expect)] = &[
    ("pass", Expect::Pass),
    ("rewrite", Expect::Rewrite),
    ("deny", Expect::Deny),
];

impl Reader {
    pub(super) fn tests(&mut self, root: &mut Section<'_>) -> Vec<PolicyTest> {
        let sections = root.sections(&mut self.report, "test");
        sections
            .into_iter()
            .filter_map(|section| self.test(section))
            .collect()
    }

    fn test(&mut self, mut section: Section<'_>) -> Option<PolicyTest> {
        let report = &mut self.report;
        let line = report.line(section.origin()).unwrap_or(1);
        let name = section.required(report, "name", word);
        let claims = section.required(report, "claims", claims);
        let sql = section.required(report, "sql", word);
        let expect = section.required(report, "expect", choice(EXPECTATIONS));
        section.finish(report);
        Some(PolicyTest {
            name: name?,
            line,
            claims: claims?,
            sql: sql?,
            expect: expect?,
        })
    }
}

fn claims(node: &Node) -> Result<String, Complaint> {
    match &node.value {
        Value::Table(_) => Ok(json(node)?.to_string()),
        other => Err(
            Complaint::new(format!("expected a table, found {}", other.kind())).help(
                "write claims = { role = \"authenticated\", app_metadata = { org_id = \"…\" } }",
            ),
        ),
    }
}

fn json(node: &Node) -> Result<Json, Complaint> {
    Ok(match &node.value {
        Value::Text(text) | Value::Datetime(text) | Value::Untyped(text) => {
            Json::String(text.clone())
        }
        Value::Integer(number) => Json::Number(Number::from(*number)),
        Value::Float(number) => Number::from_f64(*number)
            .map(Json::Number)
            .ok_or_else(|| Complaint::new("JSON has no such number"))?,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Array(items) => Json::Array(items.iter().map(json).collect::<Result<_, _>>()?),
        Value::Table(table) => {
            let mut object = Map::new();
            for entry in &table.entries {
                object.insert(entry.key.clone(), json(&entry.node)?);
            }
            Json::Object(object)
        }
    })
}
