//! Where the entries of a policy stand, so that what only the catalogue shows (an unknown table, a
//! missing tenant column) is reported at the line that names it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use pgwarden_policy::engine::BindingProblem;

use crate::diagnostic::{File, Place, Problem, Problems};
use crate::document::Origin;

/// Object names and their places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    spans: HashMap<String, Range<usize>>,
}

impl Index {
    /// Remembers the first place of an object.
    pub(crate) fn add(&mut self, object: String, origin: &Origin) {
        if let Origin::Span(span) = origin {
            self.spans.entry(object).or_insert_with(|| span.clone());
        }
    }

    /// The place of an object.
    pub(crate) fn get(&self, object: &str) -> Option<Range<usize>> {
        self.spans.get(object).cloned()
    }
}

/// The file behind a policy.
#[derive(Debug, Clone)]
pub struct PolicySource {
    file: Arc<File>,
    index: Index,
}

impl PolicySource {
    pub(crate) fn new(file: Arc<File>, index: Index) -> Self {
        Self { file, index }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        self.file.name()
    }

    /// Whether a problem is about something that the file names.
    pub fn names(&self, problem: &BindingProblem) -> bool {
        self.span(problem).is_some()
    }

    fn span(&self, problem: &BindingProblem) -> Option<Range<usize>> {
        let mut object = problem.object.as_str();
        loop {
            if let Some(span) = self.index.get(object) {
                return Some(span);
            }
            object = object.rsplit_once('.')?.0;
        }
    }

    /// The place of a binding problem: its object's, or that of what the object belongs to.
    pub fn locate(&self, problem: &BindingProblem) -> Problem {
        let (place, message) = match self.span(problem) {
            Some(span) => (
                Place::At(Arc::clone(&self.file), span),
                problem.message.clone(),
            ),
            None => (
                Place::Whole(self.file.name().to_owned()),
                format!("{}: {}", problem.object, problem.message),
            ),
        };
        let help = problem.suggestion.as_ref();
        Problem::new(place, message).help(help.map(|name| match name.contains('"') {
            true => format!("did you mean '{name}', with its quotes?"),
            false => format!("did you mean \"{name}\"?"),
        }))
    }

    /// All of them, in the file's order.
    pub fn locate_all(&self, problems: &[BindingProblem]) -> Problems {
        Problems::sorted(
            problems
                .iter()
                .map(|problem| self.locate(problem))
                .collect(),
        )
    }
}
