//! Random statements over the suites' schema, the same for a seed for ever.
//!
//! The grammar keeps to what has one right answer whatever the plan: LIMIT only below a total
//! order, aggregates that don't depend on the order of rows, UPDATE … FROM that sets nothing from
//! the joined rows. Expressions that blow up on organisation b's rows are sprinkled everywhere;
//! on the own rows none of them fails, so any error they raise is a leak of evaluation order.

mod aggregate;
mod at_cursor;
mod class;
mod computed;
mod copy;
mod cursor;
mod expression;
mod from;
mod insert;
mod inserted_child;
mod json;
mod leaky;
mod merge;
mod message;
mod prepared;
mod query;
mod recursive;
mod returned;
mod script;
mod second;
mod spelling;
mod stolen;
mod tables;
mod temporary;
mod tenant;
mod views;
mod write;

use prepared::Parameter;
use second::SECOND;
use tables::{TABLES, Table};

pub use class::{class_of, features_of};
pub use copy::Copied;
pub use script::Step;

use crate::fixture::{Tenant, server_major};
use crate::random::Random;

/// A column's type, as far as the generator tells types apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Numeric,
    Text,
    Bool,
    Uuid,
    Time,
    Date,
    Json,
    Tags,
    Status,
}

/// What blows up when it meets another organisation's value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bomb {
    /// Text that is no number.
    Number,
    /// Text that is no date.
    Date,
    /// Text that is no JSON.
    Json,
    /// Text that is no regular expression.
    Pattern,
    /// Text that is no time zone.
    Zone,
    /// Text that is no schema.
    Schema,
}

/// A column that an expression can name.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    name: String,
    kind: Kind,
    bomb: Option<Bomb>,
}

/// A relation in scope.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    alias: String,
    columns: Vec<Column>,
}

/// A statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// Whether it writes.
    pub writes: bool,
    /// Whether it carries another organisation's value on purpose, so that refusing it is right.
    pub hostile: bool,
}

/// Makes statements.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    tenant: Tenant,
    aliases: usize,
    /// CTEs in scope: name and columns.
    ctes: Vec<Relation>,
    /// Temporary tables of the script so far.
    temporaries: Vec<Relation>,
    /// The parameters so far, while a statement may have some.
    parameters: Option<Vec<Parameter>>,
    /// Whether it writes over the second world's tables.
    second: bool,
    /// The server's major version: what syntax there is.
    major: u32,
    hostile: bool,
}

impl Generator {
    fn new(seed: u64, index: u64, tenant: Tenant) -> Self {
        let mut mixer = Random::new(seed ^ index.wrapping_mul(0x5851_f42d_4c95_7f2d));
        Self {
            random: Random::new(mixer.bits()),
            tenant,
            aliases: 0,
            ctes: Vec::new(),
            temporaries: Vec::new(),
            parameters: None,
            second: false,
            major: server_major(),
            hostile: false,
        }
    }

    /// The generator of one statement: number `index` of a seed's sequence, as a tenant would
    /// write it. Any single statement can be made again without those before it.
    pub fn statement(seed: u64, index: u64, tenant: Tenant) -> Statement {
        let mut generator = Self::new(seed, index, tenant);
        let writes = generator.random.chance(25);
        let mut sql = if writes {
            generator.write()
        } else {
            generator.top_select()
        };
        if generator.random.chance(1) {
            generator.hostile = true;
            sql = generator.stolen();
        } else if generator.random.chance(1) {
            // Estimates tell of foreign rows: it must be refused.
            generator.hostile = true;
            sql = format!("EXPLAIN {sql}");
        }
        Statement {
            sql,
            writes,
            hostile: generator.hostile,
        }
    }

    /// The same over the second world's tables.
    pub fn second(seed: u64, index: u64, tenant: Tenant) -> Statement {
        let mut generator = Self::new(seed, index, tenant);
        generator.second = true;
        let writes = generator.random.chance(40);
        let sql = if writes {
            generator.write()
        } else {
            generator.top_select()
        };
        Statement {
            sql,
            writes,
            hostile: generator.hostile,
        }
    }

    /// The tables of its world.
    fn tables(&self) -> &'static [Table] {
        if self.second { SECOND } else { TABLES }
    }

    /// Bombs are only laid where the own rows are none.
    fn bombs(&self) -> bool {
        self.tenant != Tenant::B
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }
}
