//! What happens meanwhile, on standard error: a bar that is drawn over on a terminal, else a line
//! for each step.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use pgwarden_schema::migrate::Event;

/// The bar's columns.
const BAR: i64 = 20;

/// Drawn at most so often; without a terminal, told.
const DRAWN: Duration = Duration::from_millis(100);
const TOLD: Duration = Duration::from_secs(10);

/// Who watches.
pub(super) struct Progress {
    terminal: bool,
    last: Instant,
    /// Whether a line on the terminal waits for its end.
    open: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            last: Instant::now(),
            open: false,
        }
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin {
                number,
                of,
                name,
                title,
            } => {
                let number = format!("[{number}/{of}]");
                self.line(&match self.terminal {
                    true => format!("{number} {title}"),
                    false => format!("{number} {name}: {title}"),
                });
            }
            Event::Rows {
                done,
                estimate,
                rate,
            } => self.passing(&rows(done, estimate, rate)),
            Event::Waiting(why) => self.passing(&format!("waiting: {why}")),
            Event::Done => self.end(),
        }
    }

    fn line(&mut self, text: &str) {
        self.end();
        eprintln!("{text}");
    }

    /// Something that the next replaces.
    fn passing(&mut self, text: &str) {
        let often = if self.terminal { DRAWN } else { TOLD };
        if self.last.elapsed() < often {
            return;
        }
        self.last = Instant::now();
        if self.terminal {
            eprint!("\r\x1b[2K  {text}");
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stderr().flush();
            self.open = true;
        } else {
            eprintln!("  {text}");
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            eprint!("\r\x1b[2K");
        }
    }
}

/// Rows, rate and what remains.
fn rows(done: i64, estimate: i64, rate: i64) -> String {
    if estimate <= 0 {
        return format!("{done} rows, {rate}/s");
    }
    let of = estimate.max(done);
    let filled = done.saturating_mul(BAR).checked_div(of).unwrap_or(BAR);
    let bar: String = (0..BAR)
        .map(|at| if at < filled { '#' } else { '.' })
        .collect();
    let remaining = (of - done).checked_div(rate).unwrap_or(0);
    format!("[{bar}] {done} of about {of} rows, {rate}/s, {remaining} s remain")
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn a_bar_is_drawn_from_estimates() {
        assert_eq!(
            rows(500, 1000, 100),
            "[##########..........] 500 of about 1000 rows, 100/s, 5 s remain"
        );
        assert_eq!(rows(7, 0, 3), "7 rows, 3/s");
        assert!(rows(20, 10, 0).starts_with("[####################] 20 of about 20"));
    }
}
