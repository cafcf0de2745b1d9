//! Cursors. Their queries are ordered over everything that comes out, so that a part of the rows is the
//! same part whatever the plan.

use super::script::Script;

/// An open cursor.
#[derive(Debug)]
pub(crate) struct Cursor {
    name: String,
    scroll: bool,
}

impl Script {
    pub(super) fn declare(&mut self) {
        let hold = self.generator.random.chance(15);
        if !self.open && !hold {
            self.begin();
        }
        let name = format!("cursor_{}", self.number());
        let scroll = self.generator.random.chance(60);
        let query = self.generator.ordered();
        let word = if scroll { "SCROLL " } else { "NO SCROLL " };
        let hold = if hold { "WITH HOLD " } else { "" };
        self.plain(format!("DECLARE {name} {word}CURSOR {hold}FOR {query}"));
        self.cursors.push(Cursor { name, scroll });
    }

    pub(super) fn fetch(&mut self) {
        if self.cursors.is_empty() {
            return self.declare();
        }
        let at = self.generator.random.below(self.cursors.len());
        let name = self.cursors[at].name.clone();
        if self.generator.random.chance(8) {
            self.cursors.remove(at);
            return self.plain(format!("CLOSE {name}"));
        }
        let count = self.generator.random.below(6);
        let forward = [
            String::new(),
            "NEXT FROM ".to_owned(),
            format!("{count} FROM "),
            format!("FORWARD {count} IN "),
            "ALL FROM ".to_owned(),
        ];
        let around = [
            "PRIOR FROM ".to_owned(),
            "FIRST FROM ".to_owned(),
            "LAST FROM ".to_owned(),
            format!("ABSOLUTE {count} FROM "),
            format!("ABSOLUTE -{count} FROM "),
            format!("RELATIVE -{count} IN "),
            format!("BACKWARD {count} FROM "),
            "BACKWARD ALL FROM ".to_owned(),
        ];
        let scroll = self.cursors[at].scroll && self.generator.random.chance(50);
        let random = &mut self.generator.random;
        let direction = if scroll {
            random.pick(&around)
        } else {
            random.pick(&forward)
        };
        let word = if random.chance(25) { "MOVE" } else { "FETCH" };
        self.plain(format!("{word} {direction}{name}"));
    }
}

impl super::Generator {
    /// A query whose rows come in one order.
    pub(super) fn ordered(&mut self) -> String {
        let kinds: Vec<_> = (0..=self.random.below(3))
            .map(|_| self.output_kind())
            .collect();
        let query = self.subquery(&kinds, &[], 2);
        let order: Vec<_> = (1..=kinds.len()).map(|at| at.to_string()).collect();
        format!("SELECT * FROM ({query}) AS q ORDER BY {}", order.join(", "))
    }
}
