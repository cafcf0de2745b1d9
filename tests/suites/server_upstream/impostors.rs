//! Servers that are not PostgreSQL, or not the one that they say they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwarden::backend::{Upstream, connect};
use pgwarden_config::settings::SslMode;
use pgwarden_tests::patience::patience;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{database, sqlstate};

/// A listener that reads whatever comes and says these bytes one after the other.
async fn impostor(says: Vec<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            for bytes in &says {
                let mut input = [0; 1024];
                if stream.read(&mut input).await.unwrap_or(0) == 0 {
                    break;
                }
                let _ = stream.write_all(bytes).await;
            }
            // Not closed at once: whoever waits for more must give up by itself.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    address
}

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";

const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

const KEY_AND_READY: &[u8] = b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I";

#[tokio::test]
async fn a_server_that_does_not_know_the_password_is_not_believed() {
    for says in [
        // AuthenticationOk in the middle of SCRAM.
        vec![SASL, OK],
        // A final message without a first one, and nonsense for a first one.
        vec![SASL, b"R\0\0\0\x0c\0\0\0\x0cv=AA"],
        vec![SASL, b"R\0\0\0\x0c\0\0\0\x0bnope"],
        // A nonce that is not ours.
        vec![SASL, b"R\0\0\0\x1f\0\0\0\x0br=stranger,s=AAAA,i=4096"],
        // Mechanisms and methods that don't exist here.
        vec![b"R\0\0\0\x0e\0\0\0\x0aPLAIN\0\0"],
        vec![b"R\0\0\0\x08\0\0\0\x07"],
        vec![b"R\0\0\0\x08\0\0\0\x02"],
        vec![b"R\0\0\0\x0a\0\0\0\x05ab"],
        vec![b"R\0\0\0\x06\0\0"],
        // Lengths and messages that can't be.
        vec![b"R\xff\xff\xff\xff\0\0\0\0"],
        vec![b"R\0\0\0\0\0\0\0\0"],
        vec![b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        vec![b"T\0\0\0\x06\0\0"],
    ] {
        let shown = says.concat().escape_ascii().to_string();
        let settings = database(impostor(says).await, "scram", SslMode::Disable);
        let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
        let parameters = Vec::new();
        let connecting = connect(&upstream, &parameters);
        let answer = tokio::time::timeout(patience(), connecting).await;
        let error = answer.expect("an answer in time").expect_err(&shown);
        assert_eq!(sqlstate(&error), "57P03", "{shown}");
    }
}

#[tokio::test]
async fn bytes_behind_the_answer_to_sslrequest_are_not_taken_for_tls() {
    let after = [&b"S"[..], OK, KEY_AND_READY].concat().leak();
    for mode in [SslMode::Require, SslMode::Prefer] {
        let settings = database(impostor(vec![after]).await, "trusted", mode);
        let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
        let parameters = Vec::new();
        let connecting = connect(&upstream, &parameters);
        let answer = tokio::time::timeout(patience(), connecting).await;
        assert!(answer.expect("an answer in time").is_err(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_server_that_trusts_is_taken_at_its_word() {
    let all = [
        OK,
        b"S\0\0\0\x0bTest\0x\0",
        b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0",
        KEY_AND_READY,
    ];
    let all = all.concat().leak();
    let settings = database(impostor(vec![all]).await, "trusted", SslMode::Disable);
    let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
    let backend = connect(&upstream, &Vec::new()).await.unwrap();
    assert_eq!(backend.facts().pid, 1);
    assert_eq!(
        backend.facts().parameters,
        [("Test".to_owned(), "x".to_owned())]
    );
}
