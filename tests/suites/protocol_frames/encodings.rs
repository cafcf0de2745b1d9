//! G4: encodings, and how strings are read.

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::proxy::{connect, session, token};

use super::sound;

#[test]
fn g4_invalid_utf8() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    for body in [
        &b"SELECT '\xff'\0"[..],
        b"SELECT id FROM leads WHERE full_name = '\xc3'\0",
        b"SELECT '\xed\xa0\x80'\0",
        b"SELECT '\xc0\xa7 OR true --'\0",
    ] {
        client.send(b'Q', body);
        let reply = client.reply();
        assert!(
            ["22021", "08P01", "42601"].contains(&reply.code()),
            "{body:?}: {reply:?}"
        );
        if reply.status == 0 {
            return;
        }
        sound(&mut client);
    }
}

#[test]
fn g4_invalid_utf8_in_a_parameter() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE full_name = $1")
            .bind_with("", "", &[], &[Some(b"\xff\xfe")], &[])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE full_name = $1")
            .bind_with("", "", &[], &[Some(b"a\0b")], &[])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn g4_encoding_at_start_up() {
    let arena = Arena::take();
    for encoding in ["SJIS", "BIG5", "GBK", "GB18030", "LATIN1", "SQL_ASCII"] {
        let Ok(mut client) = connect(
            &arena.plain(),
            &token(Tenant::A),
            &[("client_encoding", encoding)],
        ) else {
            continue;
        };
        assert_eq!(
            client.query("SHOW client_encoding").ok().value().as_deref(),
            Some("UTF8"),
            "{encoding}"
        );
        assert_eq!(client.parameter("client_encoding"), Some("UTF8"));
    }
    for encoding in ["UTF8", "utf8", "UTF-8", "'utf-8'", "unicode"] {
        let Ok(mut client) = connect(
            &arena.plain(),
            &token(Tenant::A),
            &[("client_encoding", encoding)],
        ) else {
            assert!(
                encoding.contains('\'') || encoding == "unicode",
                "{encoding} is refused"
            );
            continue;
        };
        sound(&mut client);
    }
}

#[test]
fn g4_standard_conforming_strings_at_start_up() {
    let arena = Arena::take();
    for parameters in [
        [("standard_conforming_strings", "off")],
        [("options", "-c standard_conforming_strings=off")],
        [(
            "options",
            "-cstandard_conforming_strings=0 -c backslash_quote=on",
        )],
    ] {
        let Ok(mut client) = connect(&arena.plain(), &token(Tenant::A), &parameters) else {
            continue;
        };
        assert_eq!(
            client
                .query("SHOW standard_conforming_strings")
                .ok()
                .value()
                .as_deref(),
            Some("on")
        );
    }
}
