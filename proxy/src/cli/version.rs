//! `pgwarden version`.

use super::{Failure, output};

pub(super) fn run() -> Result<(), Failure> {
    output::write(concat!("pgwarden ", env!("CARGO_PKG_VERSION"), "\n"))
}
