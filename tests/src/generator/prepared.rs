//! PREPARE and EXECUTE: constants become parameters, whose values come later.

use super::expression::type_name;
use super::script::Script;
use super::{Generator, Kind};

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parameter {
    /// In the place of a constant.
    Any(Kind),
    /// In the place of a tenant column's value.
    Tenant(&'static str),
}

impl Parameter {
    fn type_name(self) -> &'static str {
        match self {
            Self::Any(kind) => type_name(kind),
            Self::Tenant(_) => "uuid",
        }
    }
}

/// A statement that was prepared.
#[derive(Debug)]
pub(crate) struct Prepared {
    name: String,
    parameters: Vec<Parameter>,
    writes: bool,
}

impl Script {
    pub(super) fn prepare(&mut self) {
        let name = format!("prepared_{}", self.number());
        let (sql, parameters, writes) = self.parametrised();
        let types: Vec<_> = parameters.iter().map(|it| it.type_name()).collect();
        let list = if types.is_empty() {
            String::new()
        } else {
            format!(" ({})", types.join(", "))
        };
        let hostile = self.generator.hostile;
        self.plain(format!("PREPARE {name}{list} AS {sql}"));
        self.mark(hostile);
        self.prepared.push(Prepared {
            name,
            parameters,
            writes,
        });
        // What it writes of another organisation is judged when it is prepared or run.
        self.execute();
        self.mark(hostile);
    }

    /// Several in one message, beside what reads and writes.
    pub(super) fn prepare_together(&mut self) {
        let start = self.steps.len();
        for _ in 0..2 + self.generator.random.below(3) {
            match self.generator.random.below(8) {
                0..2 => self.prepare(),
                2..6 => self.execute(),
                6 => self.write(),
                _ => {
                    let sql = self.generator.top_select();
                    self.plain(sql);
                }
            }
        }
        let steps = self.steps.split_off(start);
        let texts: Vec<_> = steps.iter().map(|step| step.sql.as_str()).collect();
        self.step(texts.join("; "), steps.iter().any(|step| step.writes));
        self.mark(steps.iter().any(|step| step.hostile));
    }

    /// The same through the protocol: Parse, Bind, Execute.
    pub(super) fn bound(&mut self) {
        let (sql, parameters, writes) = self.parametrised();
        let (sql, parameters) = numbered_and_typed(&sql, &parameters);
        let values: Vec<_> = parameters
            .iter()
            .map(|it| self.generator.bound_value(*it))
            .collect();
        let hostile = self.generator.hostile;
        self.step(sql, writes);
        self.mark(hostile);
        if let Some(step) = self.steps.last_mut() {
            step.values = values;
        }
    }

    fn parametrised(&mut self) -> (String, Vec<Parameter>, bool) {
        let generator = &mut self.generator;
        generator.hostile = false;
        generator.parameters = Some(Vec::new());
        let writes = generator.random.chance(50);
        let sql = if writes {
            generator.write()
        } else {
            generator.top_select()
        };
        (sql, generator.parameters.take().unwrap_or_default(), writes)
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
        generator.hostile = false;
        let values: Vec<_> = prepared
            .parameters
            .iter()
            .map(|parameter| match parameter {
                Parameter::Any(kind) => generator.literal(*kind),
                Parameter::Tenant(column) => generator.tenant_value(column),
            })
            .collect();
        let hostile = generator.hostile;
        let list = if values.is_empty() {
            String::new()
        } else {
            format!(" ({})", values.join(", "))
        };
        let (sql, writes) = (format!("EXECUTE {}{list}", prepared.name), prepared.writes);
        self.step(sql, writes);
        self.mark(hostile);
    }
}

impl Generator {
    /// Sometimes a parameter, where a constant of that type would stand.
    pub(super) fn parameter(&mut self, kind: Kind) -> Option<String> {
        self.parameters.as_ref()?;
        if !self.random.chance(40) {
            return None;
        }
        let parameters = self.parameters.as_mut()?;
        parameters.push(Parameter::Any(kind));
        Some(format!("${}", parameters.len()))
    }

    fn bound_value(&mut self, parameter: Parameter) -> Option<String> {
        match parameter {
            Parameter::Any(kind) => self.datum(kind, false),
            Parameter::Tenant(column) if self.random.chance(12) => {
                self.hostile = true;
                self.random
                    .chance(80)
                    .then(|| self.foreign(column).to_owned())
            }
            Parameter::Tenant(column) => Some(self.own(column).to_owned()),
        }
    }
}

/// Numbers the parameters that a text has kept, and gives each its type, but tenant values, which have
/// their column's.
fn numbered_and_typed(sql: &str, parameters: &[Parameter]) -> (String, Vec<Parameter>) {
    let mut pieces = sql.split('$');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    let mut kept = Vec::new();
    for piece in pieces {
        let rest = piece.trim_start_matches(|it: char| it.is_ascii_digit());
        let number = piece[..piece.len() - rest.len()].parse::<usize>();
        // A path of JSON begins with the sign, too.
        let known = number
            .ok()
            .and_then(|at| parameters.get(at.checked_sub(1)?));
        out += "$";
        if let Some(parameter) = known {
            kept.push(*parameter);
            out += &kept.len().to_string();
            if let Parameter::Any(kind) = parameter {
                out += &format!("::{}", type_name(*kind));
            }
        }
        out += rest;
    }
    (out, kept)
}
