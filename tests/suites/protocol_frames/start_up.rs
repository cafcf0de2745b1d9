//! G3 before a session begins: requests for TLS and GSS, packets of impossible length, versions.

use std::time::Duration;

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::proxy::{address, connect, token};
use pgwarden_tests::wire::Client;

use super::{ends, sound};

const SSL: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

const GSS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

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
