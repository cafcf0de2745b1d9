//! `docs/lints/`: a page for each lint, made of its file's doc comment. The test fails when a page
//! is stale; `PGWARDEN_WRITE_DOCS=1 cargo test -p pgwarden-schema lints::pages` writes them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{ALL, Lint};

/// What a doc comment says.
struct Page {
    summary: String,
    why: String,
    fix: String,
}

impl Page {
    fn of(lint: &Lint) -> Self {
        let file = format!("src/audit/lints/{}.rs", lint.code);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let source = fs::read_to_string(source).expect(lint.code);
        let lines = source.lines().map_while(|it| it.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(str::trim).collect();
        let comment = lines.join("\n");
        let mut paragraphs = comment.split("\n\n").map(|it| it.replace('\n', " "));
        let mut paragraph = |label: &str| {
            let text = paragraphs.next().expect("three paragraphs");
            text.strip_prefix(label).expect(label).to_owned()
        };
        Self {
            summary: paragraph(""),
            why: paragraph("Why: "),
            fix: paragraph("Fix: "),
        }
    }
}

fn text(lint: &Lint) -> String {
    let Page { summary, why, fix } = Page::of(lint);
    format!(
        "# {}\n\n{summary}\n\nLevel: {}.\n\n## Why\n\n{why}\n\n## Fix\n\n{fix}\n\n\
         The finding's own SQL names the objects.\n\n[All lints](README.md)\n",
        lint.code,
        lint.level.name()
    )
}

fn index() -> String {
    let mut text = "# What `pgwarden audit` looks for\n\nThe pages are made of the comments in \
                    `schema/src/audit/lints/`.\n\n| lint | level | what |\n|---|---|---|\n"
        .to_owned();
    for lint in ALL {
        let (code, level, summary) = (lint.code, lint.level.name(), Page::of(lint).summary);
        writeln!(text, "| [{code}]({code}.md) | {level} | {summary} |").expect("a String holds it");
    }
    text
}

#[test]
fn every_lint_has_a_page_that_is_not_stale() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lints");
    let pages = ALL.iter().map(|it| (format!("{}.md", it.code), text(it)));
    for (name, text) in pages.chain([("README.md".to_owned(), index())]) {
        let path = folder.join(name);
        if std::env::var_os("PGWARDEN_WRITE_DOCS").is_some() {
            fs::create_dir_all(&folder).expect("the folder can be made");
            fs::write(&path, &text).expect("the page can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is stale", path.display());
    }
}
