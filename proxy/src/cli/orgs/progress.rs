//! What happens meanwhile, on standard error: a bar on a terminal, and the lines of commands.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use super::report::{Outcome, Record};

/// The bar's columns.
const BAR: usize = 20;

/// How far it is.
pub(super) struct Progress {
    of: usize,
    done: usize,
    undone: usize,
    begun: Instant,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(of: usize, begun: Instant) -> Self {
        let progress = Self {
            of,
            done: 0,
            undone: 0,
            begun,
            terminal: std::io::stderr().is_terminal(),
        };
        progress.draw();
        progress
    }

    /// One more has ended.
    pub(super) fn done(&mut self, record: &Record) {
        self.done += 1;
        self.undone += usize::from(record.outcome != Outcome::Done);
        self.draw();
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if self.terminal {
            draw("");
        }
    }

    fn draw(&self) {
        if self.terminal {
            draw(&self.line(self.begun.elapsed().as_secs_f64()));
        }
    }

    fn line(&self, seconds: f64) -> String {
        let filled = (self.done * BAR).checked_div(self.of).unwrap_or(BAR);
        let bar = format!(
            "{}{}",
            "#".repeat(filled),
            ".".repeat(BAR - filled.min(BAR))
        );
        let failed = match self.undone {
            0 => String::new(),
            undone => format!(", {undone} not done"),
        };
        let remaining = match self.done {
            0 => String::new(),
            done => {
                let left = self.of.saturating_sub(done) as f64;
                format!(", {:.0} s remain", seconds / done as f64 * left)
            }
        };
        format!(
            "[{bar}] {} of {} organisations{failed}{remaining}",
            self.done, self.of
        )
    }
}

/// Draws over what was drawn.
fn draw(text: &str) {
    eprint!("\r\x1b[2K{text}");
    // A terminal that is gone is no reason to stop.
    let _ = std::io::stderr().flush();
}

/// A line that stays.
pub(super) fn tell(line: &str) {
    if std::io::stderr().is_terminal() {
        draw("");
    }
    // As above: it may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_what_remains() {
        let progress = Progress {
            of: 40,
            done: 10,
            undone: 2,
            begun: Instant::now(),
            terminal: false,
        };
        assert_eq!(
            progress.line(5.0),
            "[#####...............] 10 of 40 organisations, 2 not done, 15 s remain"
        );
    }
}
