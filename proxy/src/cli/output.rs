//! Standard output.

use std::io::{ErrorKind, Write};

use super::Failure;

/// Writes a result. A reader that has seen enough (`| head`) is not an error.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Internal(format!(
            "can't write the result: {error}"
        ))),
        Ok(()) | Err(_) => Ok(()),
    }
}
