//! The folder that holds a plan's files.

use std::path::{Path, PathBuf};

use pgwarden_schema::migrate::StepFile;

use super::Failure;

/// Writes a plan. A folder that holds another one stays as it is: part of it may have been run.
pub(super) fn write(folder: &Path, files: &[StepFile]) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::usage(format!("{} can't be written: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let there = names(folder)?;
    let foreign = there
        .iter()
        .find(|name| !files.iter().any(|it| it.name == **name));
    if let Some(name) = foreign {
        return Err(Failure::usage(format!(
            "{} holds another plan ({name}); give a folder of its own to this one",
            folder.display()
        )));
    }
    for file in files {
        let path = folder.join(&file.name);
        std::fs::write(&path, &file.text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// The names of the SQL files in it, in their order.
fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("{} can't be read: {error}", folder.display()))
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path: PathBuf = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|it| it == "sql")
            && let Some(name) = path.file_name().and_then(|it| it.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads a plan.
pub(super) fn read(folder: &Path) -> Result<Vec<StepFile>, Failure> {
    let read = names(folder)?.into_iter().map(|name| {
        let path = folder.join(&name);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::usage(format!("{} can't be read: {error}", path.display()))
        })?;
        Ok(StepFile { name, text })
    });
    let files = read.collect::<Result<Vec<_>, Failure>>()?;
    match files.is_empty() {
        true => Err(Failure::usage(format!(
            "{} holds no plan; write one with `pgwarden migrate plan`",
            folder.display()
        ))),
        false => Ok(files),
    }
}
