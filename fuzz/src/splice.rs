//! Mutates statements along their own joints: clauses, groups in brackets, elements of lists, names
//! and constants are replaced by such of other statements, put in, left out, doubled, wrapped. Bytes
//! at random seldom get past the parser; this gets to the judge and the proof.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use crate::random::Random;
use crate::tokens::{self, Class, Token};

/// Queries around a whole statement, `{}`, that reads.
const AROUND_STATEMENTS: &[&str] = &[
    "SELECT * FROM ({}) AS q",
    "WITH w AS ({}) SELECT * FROM w",
    "WITH w AS MATERIALIZED ({}) SELECT count(*) FROM w, leads",
    "SELECT EXISTS ({})",
    "SELECT ARRAY({})",
    "SELECT l.id, q.* FROM leads l LEFT JOIN LATERAL ({}) AS q ON true",
    "INSERT INTO notes (id, org_id, txt) {}",
    "CREATE TEMP TABLE made AS {}",
    "DECLARE c CURSOR FOR {}",
    "PREPARE p AS {}",
    "COPY ({}) TO STDOUT",
    "EXPLAIN {}",
    "({}) UNION ALL SELECT id FROM calls",
    "BEGIN; {}; COMMIT",
    "CREATE TEMP VIEW made AS {}; SELECT * FROM made AS l",
    "CREATE OR REPLACE TEMP VIEW made AS SELECT 1 AS id; {}",
    "CREATE TABLE made.made (id int PRIMARY KEY, n public.small, txt varchar(20)); {}",
    "CREATE TABLE made.made (id int, txt text); INSERT INTO made.made {}; SELECT * FROM made.made",
    "CREATE TYPE made.mood AS ENUM ('a', 'b'); {}",
    "CREATE TEMP SEQUENCE made; {}",
    "DROP TABLE IF EXISTS made.made; {}",
];

/// Expressions around one, `{}`.
const AROUND_EXPRESSIONS: &[&str] = &[
    "({})",
    "NOT ({})",
    "({}) IS NULL",
    "(SELECT {})",
    "coalesce({}, NULL)",
    "CASE WHEN ({}) IS NULL THEN NULL ELSE 1 END",
    "({})::text",
    "({}) = ANY (ARRAY[NULL, '1'])",
    "ROW({}, 1)",
    "array_agg({})",
    "max({}) OVER (PARTITION BY 1)",
    "({}) IN (SELECT org_id FROM leads)",
    "row_to_json(ROW({}))",
    "(({}), 1) = (1, 2)",
];

/// Words that begin a clause, in the order in which clauses stand.
const CLAUSES: &[&str] = &[
    "with", "insert", "update", "delete", "merge", "select", "into", "set", "values", "from", "using",
    "join", "left", "right", "full", "inner", "cross", "natural", "on", "when", "where", "group",
    "having", "window", "union", "intersect", "except", "order", "limit", "offset", "fetch", "for",
    "returning",
];

/// The tries at one change before the text stays as it is.
const TRIES: usize = 8;

/// Pieces of statements.
#[derive(Debug, Default)]
pub struct Pieces {
    statements: Vec<String>,
    clauses: BTreeMap<&'static str, Vec<String>>,
    /// Contents of brackets that are queries, and others.
    queries: Vec<String>,
    groups: Vec<String>,
    elements: Vec<String>,
    tokens: BTreeMap<Class, Vec<String>>,
}

impl Pieces {
    /// Those of the suites' case files.
    pub fn of_cases() -> &'static Self {
        static PIECES: OnceLock<Pieces> = OnceLock::new();
        PIECES.get_or_init(|| {
            let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
            let mut pieces = Self::default();
            for text in tokens::statements_of_cases(&cases) {
                pieces.add(&text);
            }
            pieces
        })
    }

    /// Takes a statement to pieces.
    pub fn add(&mut self, text: &str) {
        let Some(tokens) = tokens::of(text) else { return };
        let part = |(from, to): (usize, usize)| text.get(tokens[from].start..tokens[to - 1].end);
        for range in clauses(&tokens) {
            let word = clause_word(&tokens[range.0]);
            if let (Some(word), Some(part)) = (word, part(range)) {
                self.clauses.entry(word).or_default().push(part.to_owned());
            }
        }
        for range in groups(&tokens) {
            let query = matches!(tokens[range.0].word.as_str(), "select" | "with" | "values");
            let pool = if query { &mut self.queries } else { &mut self.groups };
            pool.extend(part(range).map(str::to_owned));
        }
        self.elements.extend(elements(&tokens).into_iter().filter_map(part).map(str::to_owned));
        for (at, token) in tokens.iter().enumerate() {
            let pool = self.tokens.entry(token.class).or_default();
            pool.extend(part((at, at + 1)).map(str::to_owned));
        }
        self.statements.push(text.to_owned());
    }
}

/// Changes a statement a few times over, with the pieces; gives nothing for what has no tokens.
pub fn mutate(text: &str, pieces: &Pieces, random: &mut Random) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..=random.below(3) {
        tokens::of(&text).filter(|tokens| !tokens.is_empty())?;
        let changed = (0..TRIES).find_map(|_| change(&text, pieces, random));
        text = changed.unwrap_or(text);
    }
    Some(text)
}

/// One change, if there is a place for the kind that the dice say.
fn change(text: &str, pieces: &Pieces, random: &mut Random) -> Option<String> {
    let tokens = tokens::of(text)?;
    let place = Place { text, tokens: &tokens };
    match random.below(20) {
        0..3 => place.other_clause(pieces, random),
        3..6 => place.one_more_clause(pieces, random),
        6 => place.without(random.pick(&clauses(&tokens))?),
        7 => place.other_group(pieces, random),
        8..11 => place.other_element(pieces, random),
        11 => place.one_more_element(pieces, random),
        12 => place.wrapped_element(random),
        13..16 => place.other_token(pieces, random),
        16 => place.wrapped(random),
        17 => place.without(random.pick(&elements(&tokens))?),
        18 => match random.below(3) {
            0 => random.pick(&pieces.statements).cloned(),
            _ => place.one_more_statement(pieces, random),
        },
        _ => place.noise(pieces, random),
    }
}

/// Where a change is made.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

impl Place<'_> {
    /// The text with tokens replaced.
    fn with(&self, (from, to): (usize, usize), piece: &str) -> Option<String> {
        let start = self.tokens.get(from).map_or(self.text.len(), |it| it.start);
        let end = if to > from { self.tokens.get(to - 1)?.end } else { start };
        Some(format!("{} {piece} {}", self.text.get(..start)?.trim_end(), self.text.get(end..)?.trim_start()))
    }

    fn without(&self, range: &(usize, usize)) -> Option<String> {
        self.with(*range, "")
    }

    fn part(&self, (from, to): (usize, usize)) -> Option<&str> {
        self.text.get(self.tokens.get(from)?.start..self.tokens.get(to - 1)?.end)
    }

    fn other_clause(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let range = *random.pick(&clauses(self.tokens))?;
        let word = clause_word(self.tokens.get(range.0)?)?;
        let piece = random.pick(pieces.clauses.get(word)?)?;
        self.with(range, &self.at_home(piece, random))
    }

    /// Puts a clause in where one of its kind may stand.
    fn one_more_clause(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let rank = |word: &str| CLAUSES.iter().position(|it| *it == word);
        let after = *random.pick(&clauses(self.tokens))?;
        let least = rank(clause_word(self.tokens.get(after.0)?)?)?;
        let word = CLAUSES.get(least + random.below(CLAUSES.len() - least))?;
        let next = self.tokens.get(after.1).and_then(clause_word).and_then(rank);
        if next.is_some_and(|next| next < rank(word).unwrap_or_default()) {
            return None;
        }
        let piece = random.pick(pieces.clauses.get(word)?)?;
        self.with((after.1, after.1), &self.at_home(piece, random))
    }

    /// Makes a message of several statements: one of the suites' behind it, or before it.
    fn one_more_statement(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let own = self.text.trim_end_matches([';', ' ', '\n']);
        let other = random.pick(&pieces.statements)?.trim_end_matches([';', ' ', '\n']);
        Some(match random.below(2) {
            0 => format!("{other}; {own}"),
            _ => format!("{own}; {other}"),
        })
    }

    fn other_group(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let range = *random.pick(&groups(self.tokens))?;
        let query = matches!(self.tokens.get(range.0)?.word.as_str(), "select" | "with" | "values");
        let pool = if query || random.below(4) == 0 { &pieces.queries } else { &pieces.groups };
        let piece = random.pick(pool)?;
        self.with(range, &self.at_home(piece, random))
    }

    fn other_element(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let range = *random.pick(&elements(self.tokens))?;
        let piece = random.pick(&pieces.elements)?;
        self.with(range, &self.at_home(piece, random))
    }

    fn one_more_element(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let range = *random.pick(&elements(self.tokens))?;
        let piece = match random.below(3) {
            0 => self.part(*random.pick(&elements(self.tokens))?)?.to_owned(),
            _ => self.at_home(random.pick(&pieces.elements)?, random),
        };
        let joint = random.pick(&[",", ",", "AND", "OR", "=", "||", "IS DISTINCT FROM"])?;
        self.with(range, &format!("{} {joint} {piece}", self.part(range)?))
    }

    fn wrapped_element(&self, random: &mut Random) -> Option<String> {
        let range = *random.pick(&elements(self.tokens))?;
        let around = random.pick(AROUND_EXPRESSIONS)?;
        self.with(range, &around.replace("{}", self.part(range)?))
    }

    fn wrapped(&self, random: &mut Random) -> Option<String> {
        let around = random.pick(AROUND_STATEMENTS)?;
        Some(around.replace("{}", self.text.trim_end_matches([';', ' ', '\n'])))
    }

    fn other_token(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let at = random.below(self.tokens.len());
        let class = self.tokens.get(at)?.class;
        let pool = match random.below(3) {
            // A name that the statement has already.
            0 if class == Class::Name => {
                let own = self.tokens.iter().enumerate().filter(|(_, it)| it.class == class);
                let own: Vec<_> = own.filter_map(|(at, _)| self.part((at, at + 1))).collect();
                return self.with((at, at + 1), random.pick(&own)?);
            }
            _ => pieces.tokens.get(&class)?,
        };
        self.with((at, at + 1), random.pick(pool)?)
    }

    /// Any token, before any other or in its stead.
    fn noise(&self, pieces: &Pieces, random: &mut Random) -> Option<String> {
        let at = random.below(self.tokens.len());
        let pools: Vec<_> = pieces.tokens.values().collect();
        let pool = random.pick(&pools)?;
        let piece = random.pick(pool)?;
        self.with((at, at + random.below(2)), piece)
    }

    /// The piece with its qualifiers replaced by the statement's own, most of the time.
    fn at_home(&self, piece: &str, random: &mut Random) -> String {
        let own: Vec<_> = tokens::qualifiers(self.tokens).map(|it| it.word.clone()).collect();
        let tokens = tokens::of(piece).unwrap_or_default();
        if own.is_empty() || random.below(4) == 0 {
            return piece.to_owned();
        }
        let mut written = String::new();
        let mut end = 0;
        for token in tokens::qualifiers(&tokens) {
            let own = random.pick(&own).cloned().unwrap_or_default();
            written += piece.get(end..token.start).unwrap_or_default();
            written += &own;
            end = token.end;
        }
        written + piece.get(end..).unwrap_or_default()
    }
}

fn clause_word(token: &Token) -> Option<&'static str> {
    CLAUSES.iter().find(|it| token.class == Class::Word && **it == token.word).copied()
}

/// From each word that begins a clause to the next of the same depth, or the bracket's end.
fn clauses(tokens: &[Token]) -> Vec<(usize, usize)> {
    let starts = tokens.iter().enumerate().filter(|(_, it)| clause_word(it).is_some());
    let range = |(at, first): (usize, &Token)| {
        let ends = |it: &Token| it.depth < first.depth || it.depth == first.depth && clause_word(it).is_some();
        let length = tokens.iter().skip(at + 1).position(ends);
        (at, length.map_or(tokens.len(), |length| at + 1 + length))
    };
    starts.map(range).collect()
}

/// What stands in each pair of brackets.
fn groups(tokens: &[Token]) -> Vec<(usize, usize)> {
    let opened = tokens.iter().enumerate().filter(|(_, it)| it.word == "(");
    let range = |(at, open): (usize, &Token)| {
        let length = tokens.iter().skip(at + 1).position(|it| it.depth == open.depth)?;
        (length > 0).then_some((at + 1, at + 1 + length))
    };
    opened.filter_map(range).collect()
}

/// What stands between commas, AND, OR, and the words and brackets around a list.
fn elements(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let parting = |it: &Token| {
        matches!(it.word.as_str(), "," | "and" | "or" | ";" | "by" | "distinct" | "all") || clause_word(it).is_some()
    };
    for at in 0..tokens.len() {
        let first = at.checked_sub(1).and_then(|before| tokens.get(before));
        if first.is_some_and(|it| !parting(it) && it.word != "(") || tokens.get(at).is_none_or(parting) {
            continue;
        }
        let depth = tokens[at].depth;
        let ends = |it: &Token| it.depth < depth || it.depth == depth && (parting(it) || it.word == ")");
        let length = tokens.iter().skip(at).position(ends).unwrap_or(tokens.len() - at);
        if length > 0 {
            found.push((at, at + length));
        }
    }
    found
}
