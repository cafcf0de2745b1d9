//! G3 within a session: messages out of place, of unknown type, of any length, at any pace.

use std::time::Duration;

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::proxy::session;
use pgwarden_tests::wire::tags;

use super::{ends, sound};

#[test]
fn g3_function_call() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    // pg_read_file(text), by its oid.
    let mut body = 3826_u32.to_be_bytes().to_vec();
    body.extend([0, 0, 0, 1, 0, 0, 0, 4]);
    body.extend(b"log?");
    body.extend([0, 0]);
    client.send(b'F', &body);
    let reply = client.reply();
    assert!(
        ["0A000", "42501", "08P01"].contains(&reply.code()),
        "{reply:?}"
    );
    if reply.status != 0 {
        sound(&mut client);
    }
}

#[test]
fn g3_function_call_in_the_middle_of_a_pipeline() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    let frames = Frames::new()
        .run("UPDATE notes SET txt = 'changed'", &[])
        .raw(b'F', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        .run("SELECT 1", &[])
        .sync();
    let messages = frames.exchange(&mut client);
    assert!(messages.iter().any(|message| message.tag == b'E'));
    drop(client);
    let mut again = session(&arena.plain(), Tenant::A);
    let txt = again
        .query("SELECT txt FROM notes WHERE id = 1")
        .ok()
        .value();
    arena.restore();
    assert!(txt.as_deref() == Some("n1") || txt.as_deref() == Some("changed"));
}

#[test]
fn g3_copy_messages_out_of_place() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .raw(b'd', b"x\n")
            .raw(b'c', b"")
            .raw(b'f', b"no\0")
            .query("SELECT count(*) FROM leads"),
    );
    twins.same(
        &Frames::new()
            .raw(b'd', b"x\n")
            .run("SELECT id FROM notes", &[])
            .raw(b'c', b"")
            .sync(),
    );
}

#[test]
fn g3_messages_of_unknown_type() {
    for tag in [b'!', b'R', b'Z', b'p', b'v', 0, 255] {
        let arena = Arena::take();
        let mut client = session(&arena.plain(), Tenant::A);
        client.send(tag, b"whatever\0");
        client.send_query("SELECT 1");
        for code in ends(&mut client) {
            assert_eq!(code, "08P01", "{}", tag as char);
        }
    }
}

#[test]
fn g3_messages_of_impossible_length() {
    for length in [0_u32, 1, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        for tag in *b"QPBDESXCH" {
            let arena = Arena::take();
            let mut client = session(&arena.plain(), Tenant::A);
            let mut bytes = vec![tag];
            bytes.extend(length.to_be_bytes());
            bytes.extend(b"SELECT 1\0");
            client.send_bytes(&bytes);
            client.close_write();
            for code in ends(&mut client) {
                assert!(
                    ["08P01", "53400", "54000"].contains(&code.as_str()),
                    "{} {length}: {code}",
                    tag as char
                );
            }
        }
    }
}

#[test]
fn g3_nul_inside_a_query() {
    let arena = Arena::take();
    for body in [
        &b"SELECT 1\0SELECT secret FROM internal_secrets\0"[..],
        b"SELECT 1",
        b"",
        b"SELECT 1\0\0",
    ] {
        let mut client = session(&arena.plain(), Tenant::A);
        client.send(b'Q', body);
        let reply = client.reply();
        assert_eq!(reply.code(), "08P01", "{body:?}: {reply:?}");
    }
}

#[test]
fn g3_strings_without_end() {
    let arena = Arena::take();
    for (tag, body) in [
        (b'P', &b"name"[..]),
        (b'P', b"\0SELECT 1"),
        (b'P', b"\0SELECT 1\0\0\x05"),
        (b'P', b"\0SELECT 1\0\0\0more"),
        (b'D', b"S"),
        (b'D', b""),
        (b'C', b"Sabc"),
        (b'E', b"abc"),
        (b'E', b"\0\0\0"),
        (b'S', b"more"),
        (b'H', b"more"),
    ] {
        let mut client = session(&arena.plain(), Tenant::A);
        client.send(tag, body);
        client.send(b'S', b"");
        let reply = client.reply();
        assert_eq!(reply.code(), "08P01", "{} {body:?}: {reply:?}", tag as char);
    }
}

#[test]
fn g3_one_byte_at_a_time() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    let mut bytes = pgwarden_tests::wire::frame(b'Q', b"SELECT count(*) FROM leads\0");
    bytes.extend(pgwarden_tests::wire::frame(b'Q', b"SELECT 2\0"));
    for byte in bytes {
        client.send_bytes(&[byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.reply().ok().value().as_deref(), Some("60"));
    assert_eq!(client.reply().ok().value().as_deref(), Some("2"));
}

#[test]
fn g3_half_closed_socket() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    client.send_query("SELECT count(*) FROM leads");
    client.close_write();
    ends(&mut client);
}

#[test]
fn g3_slow_reader_of_a_large_result() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    client.send_query("SELECT g, repeat('x', 1000) FROM generate_series(1, 50000) g");
    std::thread::sleep(Duration::from_millis(800));
    let reply = client.reply().ok();
    assert_eq!(reply.results[0].rows.len(), 50_000);
    sound(&mut client);
}

#[test]
fn g3_large_message_from_the_client() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    let text = "x".repeat(8 << 20);
    let reply = client
        .extended("SELECT length($1::text)", &[Some(&text)])
        .ok();
    assert_eq!(reply.value().as_deref(), Some("8388608"));
}

#[test]
fn g1_notice_and_parameter_messages_are_relayed() {
    let mut twins = Twins::new();
    let messages = twins.same(&Frames::new().query("SET application_name = 'suite'"));
    assert_eq!(tags(&messages), "CSZ");
    twins.same(&Frames::new().query("ROLLBACK"));
    twins.same(&Frames::new().query("SET TIME ZONE 'Asia/Tokyo'"));
}
