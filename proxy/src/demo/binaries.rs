//! Where PostgreSQL's server is installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest version that pgwarden works with.
const MAJOR_MIN: u32 = 13;

/// Directories of the usual packages that hold one version each.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/Library/PostgreSQL", "bin"),
];

/// The directory with `initdb` and `postgres`: what `PGWARDEN_PG_BIN` says, else the first of PATH,
/// `pg_config --bindir` and the usual packages that has them, the newest version first.
///
/// # Errors
/// The text to show when there is none.
pub(super) fn find() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("PGWARDEN_PG_BIN") {
        let given = PathBuf::from(given);
        return check(&given).map(|()| given);
    }
    let mut refused = None;
    for place in places() {
        match check(&place) {
            Ok(()) => return Ok(place),
            Err(why) if place.join("initdb").is_file() => refused = Some(why),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| {
        "PostgreSQL's initdb and postgres are not installed (on Debian: apt install postgresql), \
         or not where they were looked for; PGWARDEN_PG_BIN names their directory"
            .to_owned()
    }))
}

fn places() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(pg_config());
    places.extend(packages());
    places.extend(["/usr/local/pgsql/bin", "/usr/pgsql/bin"].map(PathBuf::from));
    places
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim()))
}

/// The packages' directories, the newest version first.
fn packages() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, below) in VERSIONED {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        found.extend(entries.filter_map(|entry| {
            let major = major_of_name(&entry.file_name())?;
            Some((major, entry.path().join(below)))
        }));
    }
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, place)| place).collect()
}

/// `17` and `postgresql@17` are version 17.
fn major_of_name(name: &OsString) -> Option<u32> {
    let name = name.to_str()?;
    name.strip_prefix("postgresql@")
        .unwrap_or(name)
        .parse()
        .ok()
}

fn check(place: &Path) -> Result<(), String> {
    let shown = place.display();
    if !place.join("initdb").is_file() || !place.join("postgres").is_file() {
        return Err(format!("{shown} has no initdb and postgres"));
    }
    let output = Command::new(place.join("postgres"))
        .arg("--version")
        .output();
    let output = output.map_err(|error| format!("{shown}/postgres can't be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match major_of_version(&text) {
        Some(major) if major >= MAJOR_MIN => Ok(()),
        Some(major) => Err(format!(
            "{shown} is PostgreSQL {major}; {MAJOR_MIN} is the oldest that pgwarden works with"
        )),
        None => Err(format!("{shown}/postgres does not say its version")),
    }
}

/// From `postgres (PostgreSQL) 15.3 (Debian …)` or `… 19beta1`.
fn major_of_version(text: &str) -> Option<u32> {
    let version = text.split_whitespace().nth(2)?;
    let end = version.find(|it: char| !it.is_ascii_digit());
    version.get(..end.unwrap_or(version.len()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let debian = "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n";
        assert_eq!(major_of_version(debian), Some(15));
        assert_eq!(major_of_version("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of_version("postgres"), None);
        assert_eq!(major_of_name(&"postgresql@17".into()), Some(17));
        assert_eq!(major_of_name(&"16".into()), Some(16));
        assert_eq!(major_of_name(&"openssl@3".into()), None);
    }
}
