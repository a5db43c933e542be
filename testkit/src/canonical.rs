//! Canonical JSON (TUF specification 4.1). This encoder does not use `lastmile-metadata`, so that tests do not rely on
//! the code under test.

use serde_json::Value;

/// Returns the canonical form of `value`. Signatures cover the canonical form of a document, and a key ID is the hash
/// of the canonical form of a key object.
///
/// # Panics
///
/// Panics if `value` contains a number that is not an integer, because canonical JSON allows only integers.
#[must_use]
pub fn write(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    append(value, &mut out);
    out
}

fn append(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(yes) => out.extend(yes.to_string().bytes()),
        Value::Number(number) => {
            assert!(!number.is_f64(), "canonical JSON cannot contain {number}");
            out.extend(number.to_string().bytes());
        }
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                append(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
            out.push(b'{');
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                append(&members[name.as_str()], out);
            }
            out.push(b'}');
        }
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
