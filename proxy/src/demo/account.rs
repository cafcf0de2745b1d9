//! Who runs PostgreSQL: it refuses to run as root, so root lends it another account.

use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The account of a throwaway server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    /// `None` when it is our own.
    other: Option<(u32, u32)>,
}

impl Account {
    /// Ours, unless we are root: then `postgres`, or `nobody` where there is no such user.
    /// `own` is a directory that this process has made: its owner tells who we are.
    pub(super) fn choose(own: &Path) -> io::Result<Self> {
        if std::fs::metadata(own)?.uid() != 0 {
            return Ok(Self { other: None });
        }
        let other = ids("postgres").or_else(|| ids("nobody"));
        if other.is_none() {
            let why = "PostgreSQL refuses to run as root, and there is no user postgres or nobody";
            return Err(io::Error::other(why));
        }
        Ok(Self { other })
    }

    /// Has the command run as this account, in a directory that anybody can enter.
    pub(super) fn applied(self, command: &mut Command) -> &mut Command {
        if let Some((user, group)) = self.other {
            command.uid(user).gid(group);
        }
        command.current_dir("/")
    }

    /// Makes a file or directory the account's own.
    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        match self.other {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// Makes all files of a directory the account's own.
    pub(super) fn give_files(self, directory: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                self.give(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn ids(name: &str) -> Option<(u32, u32)> {
    Some((id("-u", name)?, id("-g", name)?))
}

fn id(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().parse().ok()
}
