//! What a client sends: frames, and the bodies of messages.

/// Appends a NUL-terminated text.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// A message with an honest length.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a Parse message.
pub fn parse_body(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, name);
    push_text(&mut body, sql);
    body.extend(u16::try_from(types.len()).unwrap().to_be_bytes());
    for kind in types {
        body.extend(kind.to_be_bytes());
    }
    body
}

/// The body of a Bind message.
pub fn bind_body(
    portal: &str,
    statement: &str,
    formats: &[u16],
    values: &[Option<&[u8]>],
    results: &[u16],
) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, portal);
    push_text(&mut body, statement);
    body.extend(u16::try_from(formats.len()).unwrap().to_be_bytes());
    for format in formats {
        body.extend(format.to_be_bytes());
    }
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(bytes) => {
                body.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                body.extend_from_slice(bytes);
            }
        }
    }
    body.extend(u16::try_from(results.len()).unwrap().to_be_bytes());
    for format in results {
        body.extend(format.to_be_bytes());
    }
    body
}

/// The body of an Execute message.
pub fn execute_body(portal: &str, limit: u32) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, portal);
    body.extend(limit.to_be_bytes());
    body
}

/// The body of a Describe or Close message: `S` or `P` and a name.
pub fn target_body(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    push_text(&mut body, name);
    body
}
