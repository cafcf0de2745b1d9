//! A plan's file, read again: what is run is what people have seen, edits included.

use sha2::{Digest, Sha256};

use super::file::{Run, StepFile, UnreadableStep};
use super::phase::Phase;

/// A step, ready to be run.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) name: String,
    /// The first line.
    pub(super) title: String,
    pub(super) phase: Phase,
    pub(super) run: Run,
    /// What people should look at.
    pub(super) look_at: Vec<String>,
    pub(super) up: String,
    pub(super) verify: Vec<String>,
    pub(super) down: String,
    /// Of the whole file: one that was changed after it was run is another one.
    pub(super) digest: String,
}

/// Where a line belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Header,
    Up,
    Verify,
    Down,
}

/// What the header says.
#[derive(Default)]
struct Header {
    title: Option<String>,
    phase: Option<Phase>,
    run: Option<String>,
    index: Option<String>,
    table: Option<String>,
    batch: Option<usize>,
    hold: Vec<String>,
    look_at: Vec<String>,
}

/// Reads all files, in the order of their names.
pub(super) fn read(files: &[StepFile]) -> Result<Vec<Script>, UnreadableStep> {
    let mut scripts = files.iter().map(script).collect::<Result<Vec<_>, _>>()?;
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    let phases = scripts.windows(2);
    for pair in phases {
        if let [before, after] = pair
            && before.phase > after.phase
        {
            let why = format!(
                "{} stands before {}, a later phase",
                before.name, after.name
            );
            return Err(unreadable(&after.name, 1, why));
        }
    }
    Ok(scripts)
}

fn unreadable(name: &str, line: usize, why: impl Into<String>) -> UnreadableStep {
    UnreadableStep {
        name: name.to_owned(),
        line,
        why: why.into(),
    }
}

fn script(file: &StepFile) -> Result<Script, UnreadableStep> {
    let failed = |line, why: &str| unreadable(&file.name, line, why);
    let mut header = Header::default();
    let mut section = Section::Header;
    let (mut up, mut verify, mut down) = (String::new(), String::new(), String::new());
    for (at, line) in file.text.lines().enumerate() {
        let line_number = at + 1;
        match line.strip_prefix("-- @") {
            Some("up") => section = Section::Up,
            Some("verify") => section = Section::Verify,
            Some("down") => section = Section::Down,
            Some(_) => return Err(failed(line_number, "an unknown section")),
            None => {
                let into = match section {
                    Section::Header => {
                        header.line(line).map_err(|why| failed(line_number, &why))?;
                        continue;
                    }
                    Section::Up => &mut up,
                    Section::Verify => &mut verify,
                    Section::Down => &mut down,
                };
                let sql = match (section, line.strip_prefix("--")) {
                    (Section::Up | Section::Header, _) => line,
                    (_, Some(sql)) => sql.strip_prefix(' ').unwrap_or(sql),
                    (_, None) if line.trim().is_empty() => "",
                    (_, None) => {
                        return Err(failed(line_number, "this section stands in comments"));
                    }
                };
                into.push_str(sql);
                into.push('\n');
            }
        }
    }
    if section == Section::Header {
        return Err(failed(1, "there is no \"-- @up\""));
    }
    let queries = verify.lines().map(str::trim).filter(|it| !it.is_empty());
    Ok(Script {
        name: file.name.clone(),
        phase: header
            .phase
            .ok_or_else(|| failed(1, "the phase is missing"))?,
        run: header.run().map_err(|why| failed(1, why))?,
        title: header.title.unwrap_or_default(),
        look_at: header.look_at,
        up,
        verify: queries.map(str::to_owned).collect(),
        down,
        digest: digest(&file.text),
    })
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Header {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let Some(comment) = line.strip_prefix("--").map(str::trim) else {
            return match line.trim().is_empty() {
                true => Ok(()),
                false => Err("SQL stands before \"-- @up\"".to_owned()),
            };
        };
        if self.title.is_none() && !comment.is_empty() {
            self.title = Some(comment.to_owned());
            return Ok(());
        }
        let Some((name, value)) = comment.split_once(':') else {
            return Ok(());
        };
        let value = value.trim();
        match name {
            "phase" => self.phase = Some(value.parse()?),
            "run" => self.run = Some(value.to_owned()),
            "index" => self.index = Some(value.to_owned()),
            "table" => self.table = Some(value.to_owned()),
            "batch" => {
                let rows = value.parse().ok().filter(|rows| *rows > 0);
                self.batch = Some(rows.ok_or("not a number of rows")?);
            }
            "hold" => self.hold.push(value.to_owned()),
            "look at" => self.look_at.push(value.to_owned()),
            // What only people read.
            _ => {}
        }
        Ok(())
    }

    fn run(&self) -> Result<Run, &'static str> {
        match self.run.as_deref() {
            Some("transaction") => Ok(Run::Transaction),
            Some("concurrently") => Ok(Run::Concurrently {
                index: self.index.clone().ok_or("the index is missing")?,
            }),
            Some("batches") => Ok(Run::Batches {
                table: self.table.clone().ok_or("the table is missing")?,
                rows: self.batch.ok_or("the batch is missing")?,
                hold: self.hold.clone(),
            }),
            Some(_) => Err("\"run\" is neither transaction, concurrently nor batches"),
            None => Err("\"run\" is missing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::file::{Step, numbered};

    fn step(run: Run) -> Step {
        Step {
            phase: Phase::Backfill,
            slug: "public_leads".to_owned(),
            title: "a title".to_owned(),
            run,
            lock: "none".to_owned(),
            rows: 1,
            rate: 0,
            reversible: "yes".to_owned(),
            look_at: vec!["it".to_owned()],
            up: "SELECT 1;\n-- a comment: of people\nSELECT 2;".to_owned(),
            verify: vec!["SELECT 0;".to_owned(), "SELECT 1 - 1;".to_owned()],
            down: "DROP TABLE x;\n\nDROP TABLE y;".to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let runs = [
            Run::Transaction,
            Run::Concurrently {
                index: "public.\"An Index\"".to_owned(),
            },
            Run::Batches {
                table: "public.leads".to_owned(),
                rows: 7,
                hold: vec!["a".to_owned(), "\"B c\"".to_owned()],
            },
        ];
        for run in runs {
            let written = step(run);
            let read = read(&numbered(std::slice::from_ref(&written))).unwrap();
            let [it] = read.as_slice() else { panic!() };
            assert_eq!((it.phase, &it.run), (written.phase, &written.run));
            assert_eq!(it.title, written.title);
            assert_eq!(it.up.trim(), written.up);
            assert_eq!(it.verify, written.verify);
            assert_eq!(it.down.trim(), written.down);
        }
    }

    #[test]
    fn what_is_not_a_step_is_refused() {
        let refused = |text: &str| {
            let name = "0001_x.sql".to_owned();
            let text = text.to_owned();
            read(&[StepFile { name, text }]).unwrap_err().to_string()
        };
        assert_eq!(
            refused("SELECT 1;"),
            "0001_x.sql:1: SQL stands before \"-- @up\""
        );
        assert!(refused("-- t\n-- phase: x\n").starts_with("0001_x.sql:2: not a phase"));
        let good = "-- t\n-- phase: expand\n-- run: transaction\n";
        assert_eq!(refused(good), "0001_x.sql:1: there is no \"-- @up\"");
        let verify = format!("{good}-- @up\nSELECT 1;\n-- @verify\nDROP TABLE x;");
        assert!(
            refused(&verify).starts_with("0001_x.sql:7: "),
            "{}",
            refused(&verify)
        );
    }
}
