//! Requests to the admin server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// Sends a request without a body; `headers` are whole lines. The answer's status and body.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the admin server listens");
    let text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Sends a POST.
pub fn post(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "POST", path, "")
}

/// Sends a GET.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "GET", path, "")
}
