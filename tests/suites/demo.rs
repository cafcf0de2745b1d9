//! The demo, from its PostgreSQL to the commands that it prints.

use pgwarden::demo::{self, Options};

#[test]
fn every_printed_command_shows_what_it_promises() {
    let options = Options {
        listen: Some(([127, 0, 0, 1], 0).into()),
        check: true,
    };
    if let Err(error) = demo::run(&options, |text| print!("{text}")) {
        panic!("{error:?}");
    }
}
