//! THREATS G3 to G5: bytes that no driver sends, encodings, depth and size.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::{Duration, Instant};

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::proxy::{address, connect, session, token};
use pgwarden_tests::wire::{Client, tags};

const SSL: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// The session still works and is still the tenant's.
fn sound(client: &mut Client) {
    let reply = client
        .query("SELECT count(*), min(org_id::text) FROM leads")
        .ok();
    assert_eq!(reply.value().as_deref(), Some("60"));
}

/// A socket that was sent something must be closed, or answered with an error and closed, soon.
fn ends(client: &mut Client) -> Vec<String> {
    client.set_timeout(Duration::from_secs(60));
    let started = Instant::now();
    let messages = client.read_to_end();
    assert!(started.elapsed() < Duration::from_secs(59), "it stays open");
    messages
        .iter()
        .filter(|message| message.tag == b'E')
        .map(|message| message.error().code().to_owned())
        .collect()
}

#[test]
fn g3_ssl_request_without_tls_is_declined() {
    let arena = Arena::take();
    let mut client = Client::raw(address()).unwrap();
    client.send_bytes(&SSL);
    assert_eq!(client.read_byte().unwrap(), b'N');
    client.send_startup(&[("user", "anyone"), ("database", &arena.plain())]);
    client.log_in(Some(&token(Tenant::A))).unwrap();
    sound(&mut client);
}

#[test]
fn g3_gss_request_is_declined_and_ssl_may_follow() {
    let arena = Arena::take();
    let mut client = Client::raw(address()).unwrap();
    client.send_bytes(&GSS);
    assert_eq!(client.read_byte().unwrap(), b'N');
    client.send_bytes(&SSL);
    assert_eq!(client.read_byte().unwrap(), b'N');
    client.send_startup(&[("user", "anyone"), ("database", &arena.plain())]);
    client.log_in(Some(&token(Tenant::A))).unwrap();
    sound(&mut client);
}

#[test]
fn g3_bytes_behind_an_ssl_request_end_the_connection() {
    // CVE-2021-23214: what was buffered in clear text must not be read as part of the session.
    let mut client = Client::raw(address()).unwrap();
    let mut bytes = SSL.to_vec();
    bytes.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
    client.send_bytes(&bytes);
    client.set_timeout(Duration::from_secs(12));
    let mut got = Vec::new();
    while let Ok(byte) = client.read_byte() {
        got.push(byte);
        assert!(got.len() < 400);
    }
    assert!(
        !got.windows(9)
            .any(|part| part == [b'R', 0, 0, 0, 8, 0, 0, 0, 3]),
        "the smuggled start-up packet was answered"
    );
}

#[test]
fn g3_two_ssl_requests() {
    let mut client = Client::raw(address()).unwrap();
    client.send_bytes(&SSL);
    assert_eq!(client.read_byte().unwrap(), b'N');
    client.send_bytes(&SSL);
    ends(&mut client);
}

#[test]
fn g3_many_gss_requests() {
    let mut client = Client::raw(address()).unwrap();
    for _ in 0..50 {
        client.send_bytes(&GSS);
    }
    ends(&mut client);
}

#[test]
fn g3_start_up_packets_of_impossible_length() {
    for length in [
        0_u32,
        1,
        4,
        7,
        0x7fff_ffff,
        0xffff_ffff,
        0x8000_0000,
        100_000_000,
    ] {
        let mut client = Client::raw(address()).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend([0, 3, 0, 0]);
        client.send_bytes(&bytes);
        ends(&mut client);
    }
}

#[test]
fn g3_terminate_before_start_up_is_a_silent_end() {
    let mut client = Client::raw(address()).unwrap();
    client.send_bytes(b"X\0\0\0\x04");
    assert!(client.read_to_end().is_empty());
}

#[test]
fn g3_start_up_without_terminator_or_user() {
    for body in [
        &b"\0\x03\0\0user\0anyone"[..],
        b"\0\x03\0\0user\0anyone\0database\0plain_0\0",
        b"\0\x03\0\0\0",
        b"\0\x03\0\0database\0plain_0\0\0",
        b"\0\x03\0\0user\0\0\0",
        b"\0\x03\0\0user\0x\0\0trailing",
    ] {
        let mut client = Client::raw(address()).unwrap();
        let mut bytes = u32::try_from(body.len() + 4)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        bytes.extend(body);
        client.send_bytes(&bytes);
        client.send(b'p', b"not a token\0");
        for code in ends(&mut client) {
            assert!(
                ["08P01", "28000", "28P01", "3D000"].contains(&code.as_str()),
                "{body:?}: {code}"
            );
        }
    }
}

#[test]
fn g3_other_protocol_versions() {
    for version in [0x0002_0000_u32, 0x0001_0000, 0x0004_0000, 0x04d2_1234] {
        let mut client = Client::raw(address()).unwrap();
        let mut bytes = 20_u32.to_be_bytes().to_vec();
        bytes.extend(version.to_be_bytes());
        bytes.extend(b"user\0any\0\0\0\0");
        client.send_bytes(&bytes[..20]);
        for code in ends(&mut client) {
            assert!(
                ["0A000", "08P01"].contains(&code.as_str()),
                "{version:x}: {code}"
            );
        }
    }
}

#[test]
fn g3_minor_versions_are_negotiated() {
    let arena = Arena::take();
    let mut client = Client::raw(address()).unwrap();
    let mut body = 0x0003_03e7_u32.to_be_bytes().to_vec();
    body.extend(b"user\0anyone\0database\0");
    body.extend(arena.plain().as_bytes());
    body.extend(b"\0_pq_.nosuch\x001\0\0");
    let mut bytes = u32::try_from(body.len() + 4)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.extend(body);
    client.send_bytes(&bytes);
    let first = client.read().unwrap();
    assert_eq!(first.tag, b'v', "NegotiateProtocolVersion comes first");
    assert!(first.body.windows(11).any(|part| part == b"_pq_.nosuch"));
    client.log_in(Some(&token(Tenant::A))).unwrap();
    sound(&mut client);
}

#[test]
fn g3_replication_is_no_way_in() {
    let arena = Arena::take();
    for value in ["true", "database", "on", "1", "yes"] {
        let outcome = connect(&arena.plain(), &token(Tenant::A), &[("replication", value)]);
        let Ok(mut client) = outcome else { continue };
        let reply = client.query("IDENTIFY_SYSTEM");
        assert!(reply.error.is_some(), "replication={value}: {reply:?}");
        sound(&mut client);
    }
}

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
fn g3_cancel_with_guessed_keys_reaches_nobody() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    let pid = client.key.0;
    client.send_query("SELECT count(*) FROM generate_series(1, 3000000) g");
    for key in 0..40_u32 {
        cancel(pid, &key.to_be_bytes());
        cancel(key, &client.key.1.clone());
    }
    client.reply().ok();
    sound(&mut client);
}

#[test]
fn g3_cancel_with_the_right_key() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    client.send_query("SELECT count(*) FROM generate_series(1, 40000) a, generate_series(1, 40000) b WHERE a.a < -b.b");
    std::thread::sleep(Duration::from_millis(300));
    cancel(client.key.0, &client.key.1.clone());
    assert_eq!(client.reply().code(), "57014");
    sound(&mut client);
}

fn cancel(pid: u32, key: &[u8]) {
    let mut client = Client::raw(address()).unwrap();
    let mut bytes = u32::try_from(12 + key.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.extend([0x04, 0xd2, 0x16, 0x2e]);
    bytes.extend(pid.to_be_bytes());
    bytes.extend(key);
    client.send_bytes(&bytes);
    assert!(
        client.read_to_end().is_empty(),
        "a cancel request is never answered"
    );
}

#[test]
fn g3_the_pid_is_the_servers() {
    let arena = Arena::take();
    if std::env::var("PGWARDEN_SUITES_POOL").is_ok_and(|mode| mode == "transaction") {
        // The client has no server process of its own.
        return;
    }
    let mut client = session(&arena.plain(), Tenant::A);
    let pid = client.query("SELECT pg_backend_pid()").ok().value();
    assert_eq!(pid, Some(client.key.0.to_string()));
}

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

#[test]
fn g5_depth_and_size_are_bounded() {
    let arena = Arena::take();
    let texts = [
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {}1", "- ".repeat(50_000)),
        format!("SELECT {}true", "NOT ".repeat(100_000)),
        format!("SELECT 1{}", "::int".repeat(10_000)),
        format!("SELECT 1{}", " + 1".repeat(100_000)),
        format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(50_000)),
        format!(
            "SELECT * FROM {}leads{}",
            "(SELECT * FROM ".repeat(3_000),
            ") x".repeat(3_000)
        ),
        format!(
            "SELECT {}1{}",
            "CASE WHEN true THEN ".repeat(5_000),
            " END".repeat(5_000)
        ),
        format!("SELECT {}1{}", "ARRAY[".repeat(20_000), "]".repeat(20_000)),
        format!("SELECT {}1{}", "abs(".repeat(20_000), ")".repeat(20_000)),
        format!(
            "SELECT * FROM leads{}",
            " JOIN leads USING (id)".repeat(5_000)
        ),
        format!("SELECT {}", "/*".repeat(200_000)),
        format!("SELECT '{}", "x".repeat(900_000)),
        format!(
            "SELECT id FROM leads WHERE {}",
            vec!["score = 1"; 20_000].join(" OR ")
        ),
        "(".repeat(300_000),
        "SELECT 1;".repeat(50_000),
        "x".repeat(3 << 20),
    ];
    for text in texts {
        let start: String = text.chars().take(40).collect();
        let mut client = session(&arena.plain(), Tenant::A);
        // What would take the parser minutes is refused, or this gives up waiting.
        client.set_timeout(Duration::from_secs(120));
        for extended in [false, true] {
            let reply = if extended {
                client.extended(&text, &[])
            } else {
                client.query(&text)
            };
            assert!(reply.status != 0, "{start}: the session ended");
            if reply.error.is_some() {
                let known = [
                    "54001", "54000", "42601", "0A000", "53400", "42712", "54011", "42701",
                    "54023", "42846",
                ];
                assert!(known.contains(&reply.code()), "{start}: {:?}", reply.error);
            }
        }
        sound(&mut client);
    }
}

#[test]
fn g5_long_lists_work() {
    let mut twins = Twins::new();
    let list: Vec<_> = (0..20_000).map(|n| n.to_string()).collect();
    twins.same(&Frames::new().query(&format!(
        "SELECT id FROM leads WHERE score IN ({})",
        list.join(",")
    )));
    let rows: Vec<_> = (0..2_000)
        .map(|n| format!("({}, 'r')", n + 10_000))
        .collect();
    twins.same(&Frames::new().query(&format!(
        "INSERT INTO notes (id, txt) VALUES {}",
        rows.join(",")
    )));
}

#[test]
fn g1_notice_and_parameter_messages_are_relayed() {
    let mut twins = Twins::new();
    let messages = twins.same(&Frames::new().query("SET application_name = 'suite'"));
    assert_eq!(tags(&messages), "CSZ");
    twins.same(&Frames::new().query("ROLLBACK"));
    twins.same(&Frames::new().query("SET TIME ZONE 'Asia/Tokyo'"));
}
