//! Tells the parser whether libpg_query was built to leave standard error alone (`.cargo/config.toml`).
//!
//! The `cc` crate takes the first of these variables that is set; flags of the builder's own in any
//! of them may hide ours, and then the parser takes turns.

use std::env;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(parser_leaves_stderr)");
    let target = env::var("TARGET").unwrap_or_default();
    let names = [
        format!("CFLAGS_{target}"),
        format!("CFLAGS_{}", target.replace(['-', '.'], "_")),
        "HOST_CFLAGS".to_owned(),
        "TARGET_CFLAGS".to_owned(),
        "CFLAGS".to_owned(),
    ];
    for name in &names {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let mut set = names
        .iter()
        .filter_map(|name| env::var(name).ok())
        .peekable();
    let defined = |flags: String| flags.split_whitespace().any(|flag| flag == "-DDEBUG");
    if set.peek().is_some() && set.all(defined) {
        println!("cargo:rustc-cfg=parser_leaves_stderr");
    }
}
