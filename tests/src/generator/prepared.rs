//! PREPARE and EXECUTE: constants become parameters, whose values come later.

use super::expression::type_name;
use super::script::Script;
use super::{Generator, Kind};

/// A statement that was prepared.
#[derive(Debug)]
pub(crate) struct Prepared {
    name: String,
    kinds: Vec<Kind>,
    writes: bool,
}

impl Script {
    pub(super) fn prepare(&mut self) {
        let name = format!("prepared_{}", self.number());
        let generator = &mut self.generator;
        generator.parameters = Some(Vec::new());
        let writes = generator.random.chance(35);
        let sql = if writes {
            generator.write()
        } else {
            generator.top_select()
        };
        let kinds = generator.parameters.take().unwrap_or_default();
        let types: Vec<_> = kinds.iter().map(|kind| type_name(*kind)).collect();
        let list = if types.is_empty() {
            String::new()
        } else {
            format!(" ({})", types.join(", "))
        };
        self.plain(format!("PREPARE {name}{list} AS {sql}"));
        self.prepared.push(Prepared {
            name,
            kinds,
            writes,
        });
        // What it writes of another organisation is judged when it is prepared or run.
        self.execute();
    }

    pub(super) fn execute(&mut self) {
        if self.prepared.is_empty() {
            return self.prepare();
        }
        let at = self.generator.random.below(self.prepared.len());
        if self.generator.random.chance(8) {
            let name = self.prepared.remove(at).name;
            return self.plain(format!("DEALLOCATE {name}"));
        }
        let generator = &mut self.generator;
        let prepared = &self.prepared[at];
        let values: Vec<_> = prepared
            .kinds
            .iter()
            .map(|kind| generator.literal(*kind))
            .collect();
        let list = if values.is_empty() {
            String::new()
        } else {
            format!(" ({})", values.join(", "))
        };
        let (sql, writes) = (format!("EXECUTE {}{list}", prepared.name), prepared.writes);
        self.step(sql, writes);
    }
}

impl Generator {
    /// Sometimes a parameter, where a constant of that type would stand.
    pub(super) fn parameter(&mut self, kind: Kind) -> Option<String> {
        self.parameters.as_ref()?;
        if !self.random.chance(40) {
            return None;
        }
        let kinds = self.parameters.as_mut()?;
        kinds.push(kind);
        Some(format!("${}", kinds.len()))
    }
}
