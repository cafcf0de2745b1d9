//! `docs/deny/`: a page for each reason, made of its doc comment. The test fails when a page is
//! stale; `PGWARDEN_WRITE_DOCS=1 cargo test -p pgwarden-policy deny::pages` writes them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Denial, DenyReason};

const SOURCE: &str = include_str!("../deny.rs");

/// What a doc comment says.
struct Page {
    code: &'static str,
    sqlstate: &'static str,
    summary: String,
    why: String,
    instead: String,
    example: String,
}

impl Page {
    fn of(reason: DenyReason) -> Self {
        let comment = comment(&format!("{reason:?}"));
        let (text, example) = comment.split_once("\n\n```sql\n").expect("an example");
        let mut paragraphs = text.split("\n\n").map(|it| it.replace('\n', " "));
        let mut paragraph = |label: &str| {
            let text = paragraphs.next().expect("three paragraphs");
            text.strip_prefix(label).expect(label).to_owned()
        };
        Self {
            code: reason.code(),
            sqlstate: reason.sqlstate(),
            summary: paragraph(""),
            why: paragraph("Why: "),
            instead: paragraph("Instead: "),
            example: example.trim_end_matches("```").to_owned(),
        }
    }

    fn text(&self) -> String {
        let Self {
            code,
            sqlstate,
            summary,
            why,
            instead,
            example,
        } = self;
        format!(
            "# {code}\n\n{summary}\n\nSQLSTATE {sqlstate}, unless the error shows another.\n\n\
             ## Why\n\n{why}\n\n## Instead\n\n{instead}\n\n```sql\n{example}```\n\n\
             [All reasons](README.md)\n"
        )
    }
}

/// The doc comment of a variant.
fn comment(variant: &str) -> String {
    let end = SOURCE.find(&format!("\n    {variant},\n")).expect(variant);
    let lines: Vec<_> = SOURCE[..end]
        .lines()
        .rev()
        .map_while(|line| line.strip_prefix("    ///"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let lines: Vec<_> = lines.into_iter().rev().collect();
    lines.join("\n")
}

fn index(pages: &[Page]) -> String {
    let mut text = "# Why a statement was refused\n\n\
                    A denial's DETAIL holds `reason=<code>`; each code has a page, which its HINT \
                    names. The pages are made of the comments in `policy/src/deny.rs`.\n\n| reason | what |\n|---|---|\n"
        .to_owned();
    for Page { code, summary, .. } in pages {
        writeln!(text, "| [{code}]({code}.md) | {summary} |").expect("a String holds it");
    }
    text
}

#[test]
fn every_reason_has_a_page_that_is_not_stale() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deny");
    let pages: Vec<Page> = DenyReason::ALL.iter().map(|it| Page::of(*it)).collect();
    let mut wanted = vec![("README.md".to_owned(), index(&pages))];
    wanted.extend(
        pages
            .iter()
            .map(|page| (format!("{}.md", page.code), page.text())),
    );
    for (name, text) in wanted {
        let path = folder.join(name);
        if std::env::var_os("PGWARDEN_WRITE_DOCS").is_some() {
            fs::create_dir_all(&folder).expect("the folder can be made");
            fs::write(&path, &text).expect("the page can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is stale", path.display());
    }
}

#[test]
fn every_denial_names_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for reason in DenyReason::ALL {
        let denial = Denial::new(*reason, "no");
        let page = format!("docs/deny/{}", reason.code());
        assert_eq!(denial.help(), format!("See {page}."));
        let hinted = denial.hint("Do that.").help();
        assert_eq!(hinted, format!("Do that. See {page}."));
        assert!(root.join(format!("{page}.md")).is_file(), "{page}");
    }
}
