//! Scripts: statements in a row that depend on those before them. Transactions and savepoints stand around
//! cursors, temporary tables, prepared statements, COPY and everything that `statement` writes.

use super::copy::Copied;
use super::cursor::Cursor;
use super::prepared::Prepared;
use super::views::is_view;
use super::{Generator, Relation};
use crate::fixture::Tenant;

/// A statement of a script.
#[derive(Debug, Clone)]
pub struct Step {
    /// The text.
    pub sql: String,
    /// Whether it writes to tables that stay.
    pub writes: bool,
    /// Whether it carries another organisation's value on purpose.
    pub hostile: bool,
    /// What follows, if it is COPY FROM.
    pub copied: Option<Copied>,
    /// The parameters' values, in the extended protocol.
    pub values: Vec<Option<String>>,
}

/// A script in the making.
pub(super) struct Script {
    pub(super) generator: Generator,
    pub(super) steps: Vec<Step>,
    /// A transaction block is open.
    pub(super) open: bool,
    /// It speaks the extended protocol.
    extended: bool,
    pub(super) cursors: Vec<Cursor>,
    pub(super) prepared: Vec<Prepared>,
    savepoints: Vec<String>,
    /// Its temporary sequences.
    pub(super) sequences: Vec<String>,
    /// The temporary tables when the block began.
    before: Vec<Relation>,
    numbers: usize,
}

impl Generator {
    /// Script number `index` of a seed's sequence, for one of the two protocols.
    pub fn script(seed: u64, index: u64, tenant: Tenant, extended: bool) -> Vec<Step> {
        let mut script = Script::new(Self::new(seed, index, tenant), extended);
        if script.generator.random.chance(70) {
            script.begin();
        }
        let length = 4 + script.generator.random.below(9);
        while script.steps.len() < length {
            script.next();
        }
        if script.open {
            script.end();
        }
        script.steps
    }
}

impl Script {
    pub(super) fn new(generator: Generator, extended: bool) -> Self {
        Self {
            generator,
            steps: Vec::new(),
            open: false,
            extended,
            cursors: Vec::new(),
            prepared: Vec::new(),
            savepoints: Vec::new(),
            sequences: Vec::new(),
            before: Vec::new(),
            numbers: 0,
        }
    }

    fn next(&mut self) {
        match self.generator.random.below(35) {
            0..2 => self.declare(),
            2..6 => self.fetch(),
            6..8 => self.copy_to(),
            8..10 => self.copy_from(),
            10..12 => self.make_temporary(),
            12..15 => self.change_temporary(),
            15 => self.prepare(),
            16..18 => self.execute(),
            18..20 => self.transaction(),
            20..23 => self.write(),
            23..27 if self.extended => self.bound(),
            23..26 => self.prepare_together(),
            27 => self.search_path(),
            28 => self.lock(),
            29 => self.at_cursor(),
            30 => self.count(),
            31 => self.advisory(),
            _ => {
                let sql = self.generator.top_select();
                self.plain(sql);
            }
        }
    }

    /// A number that no name of the script has yet.
    pub(super) fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn step(&mut self, sql: String, writes: bool) {
        self.steps.push(Step {
            sql,
            writes,
            hostile: false,
            copied: None,
            values: Vec::new(),
        });
    }

    /// A step that writes to no table that stays.
    pub(super) fn plain(&mut self, sql: String) {
        self.step(sql, false);
    }

    /// Says whether the last step carries another organisation's value.
    pub(super) fn mark(&mut self, hostile: bool) {
        if let Some(step) = self.steps.last_mut() {
            step.hostile |= hostile;
        }
    }

    /// Names find other relations afterwards, or the same in another way.
    fn search_path(&mut self) {
        let random = &mut self.generator.random;
        let path = *random.pick(&[
            "public",
            "public, app",
            "public, pg_catalog",
            "hidden, public",
            "'nowhere', public",
        ]);
        let local = if self.open && random.chance(50) {
            "LOCAL "
        } else {
            ""
        };
        self.plain(format!("SET {local}search_path = {path}"));
    }

    /// An advisory lock of the session's or the transaction's, taken or left.
    fn advisory(&mut self) {
        let random = &mut self.generator.random;
        let key = random.below(3);
        let call = *random.pick(&[
            "pg_advisory_lock",
            "pg_advisory_lock",
            "pg_catalog.pg_try_advisory_lock_shared",
            "pg_advisory_unlock",
            "pg_advisory_unlock_shared",
        ]);
        let sql = match random.below(8) {
            0 => "SELECT pg_advisory_unlock_all()".to_owned(),
            1 => format!("SELECT {call}({key}, 1)"),
            _ => format!("SELECT {call}({key})"),
        };
        self.plain(sql);
    }

    /// Tables are locked, in the modes that reading and writing take.
    fn lock(&mut self) {
        if !self.open {
            self.begin();
        }
        let tables: Vec<_> = (0..=self.generator.random.below(2))
            .map(|_| self.generator.readable().name)
            .collect();
        let random = &mut self.generator.random;
        let mode = *random.pick(&["ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"]);
        let wait = *random.pick(&["", "", " NOWAIT"]);
        let one = tables.len() == 1 && !is_view(tables[0]);
        let only = if one && random.chance(30) {
            "ONLY "
        } else {
            ""
        };
        let word = *random.pick(&["LOCK", "LOCK TABLE"]);
        self.plain(format!(
            "{word} {only}{} IN {mode} MODE{wait}",
            tables.join(", ")
        ));
    }

    pub(super) fn write(&mut self) {
        self.generator.hostile = false;
        let sql = self.generator.write();
        self.step(sql, true);
        let hostile = self.generator.hostile;
        if let Some(step) = self.steps.last_mut() {
            step.hostile = hostile;
        }
    }

    pub(super) fn begin(&mut self) {
        self.open = true;
        self.before.clone_from(&self.generator.temporaries);
        self.plain("BEGIN".to_owned());
        let how = match self.generator.random.below(12) {
            0 => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            1 => "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
            2 => "SET TRANSACTION READ ONLY",
            _ => return,
        };
        self.plain(how.to_owned());
    }

    fn end(&mut self) {
        self.open = false;
        self.cursors.clear();
        self.savepoints.clear();
        if self.generator.random.chance(50) {
            self.plain("COMMIT".to_owned());
            return;
        }
        self.plain("ROLLBACK".to_owned());
        // Sometimes what was undone is used all the same.
        if self.generator.random.chance(80) {
            self.generator.temporaries = std::mem::take(&mut self.before);
        }
    }

    fn transaction(&mut self) {
        if !self.open {
            return self.begin();
        }
        match self.generator.random.below(6) {
            0 => self.end(),
            1..4 => {
                let name = format!("savepoint_{}", self.number());
                self.plain(format!("SAVEPOINT {name}"));
                self.savepoints.push(name);
            }
            _ => {
                let Some(name) = self.savepoints.last().cloned() else {
                    return;
                };
                if self.generator.random.chance(60) {
                    self.plain(format!("ROLLBACK TO {name}"));
                } else {
                    self.savepoints.pop();
                    self.plain(format!("RELEASE {name}"));
                }
            }
        }
    }
}
