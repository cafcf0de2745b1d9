//! Problems: what is wrong in a file, where, and what was probably meant.
//!
//! A problem is rendered as compilers do it, with the place first so that editors can jump there:
//!
//! ```text
//! warden.toml:23:8: unknown value "sesion"
//!    |
//! 23 | mode = "sesion"
//!    |        ^^^^^^^^
//!    = help: did you mean "session"?
//! ```
//!
//! Secrets that stand in the file are not shown: see [`excerpt`].

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

mod excerpt;

use excerpt::Excerpt;

/// A file's name and text.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    name: String,
    text: String,
}

impl File {
    /// A file that was read (or, in tests, made up).
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            text: text.into(),
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file can't be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Arc<Self>, Problems> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => Err(Problems(vec![Problem::new(
                Place::Whole(name),
                format!("can't be read: {error}"),
            )])),
        }
    }

    /// The name that problems show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The content.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both from 1, columns in characters.
    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// Where a problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At these bytes of a file.
    At(Arc<File>, Range<usize>),
    /// In a file as a whole.
    Whole(String),
    /// In an environment variable. Its value is never shown: it may be a secret.
    Variable(String),
}

/// Something wrong in a file or in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    message: String,
    help: Option<String>,
    hide_value: bool,
}

impl Problem {
    /// A problem; the message is lower case and has no full stop.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            help: None,
            hide_value: false,
        }
    }

    /// Says what to do instead.
    pub fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Leaves the value of the underlined key out, because nobody knows what stands there.
    pub(crate) fn hide_value(mut self) -> Self {
        self.hide_value = true;
        self
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do instead.
    pub fn suggestion(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Line and column, both from 1.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        match &self.place {
            Place::At(file, span) => Some(file.line_and_column(span.start)),
            Place::Whole(_) | Place::Variable(_) => None,
        }
    }

    /// Order of appearance: the files' own problems by offset, then those of the environment.
    fn order(&self) -> (u8, usize) {
        match &self.place {
            Place::Whole(_) => (0, 0),
            Place::At(_, span) => (1, span.start),
            Place::Variable(_) => (2, 0),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::At(file, span) => {
                let (line, column) = file.line_and_column(span.start);
                writeln!(f, "{}:{line}:{column}: {}", file.name, self.message)?;
                let excerpt = Excerpt::of(&file.text, span.clone(), self.hide_value);
                let number = line.to_string();
                let margin = " ".repeat(number.len());
                writeln!(f, "{margin} |")?;
                writeln!(f, "{number} | {}", excerpt.line)?;
                writeln!(f, "{margin} | {}", excerpt.underline)?;
                if let Some(help) = &self.help {
                    writeln!(f, "{margin} = help: {help}")?;
                }
            }
            Place::Whole(name) => self.write_without_excerpt(f, name)?,
            Place::Variable(name) => {
                self.write_without_excerpt(f, &format!("environment variable {name}"))?;
            }
        }
        Ok(())
    }
}

impl Problem {
    fn write_without_excerpt(&self, f: &mut fmt::Formatter<'_>, place: &str) -> fmt::Result {
        writeln!(f, "{place}: {}", self.message)?;
        match &self.help {
            Some(help) => writeln!(f, "  = help: {help}"),
            None => Ok(()),
        }
    }
}

/// All problems of a file, in order of appearance. Never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Puts them in order of appearance.
    pub(crate) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::order);
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
