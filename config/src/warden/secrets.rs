//! Secrets that the file names but does not hold: from a variable or from a file.

use crate::document::{Node, Origin};
use crate::reader::{Complaint, Section};
use crate::secret::Secret;
use crate::values::word;

use super::Reader;

impl Reader<'_> {
    /// Reads a secret from the one of two keys that is given, such as `password_env` and
    /// `password_file`, and says at which place it was named.
    pub(super) fn secret(
        &mut self,
        section: &mut Section<'_>,
        env_key: &'static str,
        file_key: &'static str,
    ) -> Option<(Origin, Option<Secret>)> {
        let from_env = section.take(env_key);
        let from_file = section.take(file_key);
        match (from_env, from_file) {
            (Some(_), Some(file)) => {
                let message = format!("both {env_key} and {file_key} are given");
                let complaint = Complaint::new(message).help("leave one of them out");
                self.complain(&file.origin, complaint);
                Some((file.origin.clone(), None))
            }
            (Some(entry), None) => {
                let secret = self.read_variable(&entry.node);
                Some((entry.origin.clone(), self.kept(&entry.node.origin, secret)))
            }
            (None, Some(entry)) => {
                let secret = self.read_file(&entry.node).map(Secret::new);
                Some((entry.origin.clone(), self.kept(&entry.node.origin, secret)))
            }
            (None, None) => None,
        }
    }

    /// The text of a file that a node names, without the line break at its end.
    pub(super) fn read_file(&self, node: &Node) -> Result<String, Complaint> {
        let path = self.path(&word(node)?);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Complaint::new(format!("{} can't be read: {error}", path.display()))
        })?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(Complaint::new(format!("{} is empty", path.display()))),
            text => Ok(text.to_owned()),
        }
    }

    fn read_variable(&self, node: &Node) -> Result<Secret, Complaint> {
        let name = word(node)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
            // It may be the secret itself, written at the wrong place.
            return Err(Complaint::new("not the name of an environment variable")
                .help("name the variable here and put the secret into the environment"));
        }
        match self.environment.get(&name) {
            Some("") => Err(Complaint::new("the environment variable is empty")),
            Some(value) => Ok(Secret::new(value)),
            None => Err(Complaint::new("the environment variable is not set")
                .help("set it in the environment of pgwarden")),
        }
    }

    fn kept(&mut self, origin: &Origin, secret: Result<Secret, Complaint>) -> Option<Secret> {
        secret
            .map_err(|complaint| self.complain(origin, complaint))
            .ok()
    }
}
