//! Finds private keys in files to be published. Supports the formats of all common tools.
//!
//! Keys in PEM, TUF JSON, JWK and age formats are found anywhere in a file of any size. Keys in other formats are found
//! only at the start of a file. Keys in DER are found only if the file contains nothing else. Archives are not opened,
//! so keys in compressed archives are not found.

use std::sync::LazyLock;

use memchr::memmem::{Finder, find, rfind};

use crate::files::der;

/// The number of bytes before and after a match that are examined to decide whether the match is a key.
const CONTEXT: usize = 8 * 1024;
const CHUNK_SIZE: usize = 256 * 1024;
/// The number of bytes that are scanned again with the next part of a file. This overlap makes sure that each match is
/// examined at least once with its whole context.
const OVERLAP: usize = 2 * CONTEXT;
/// The number of bytes at the start of a file that [`whole_file_form`] examines. No private key that the function
/// recognizes is longer than this, except for PKCS#12 files, which are recognized by their first bytes.
const HEAD: usize = 64 * 1024;
/// The minimum number of base64 characters in a private key. This minimum applies to JSON Web Keys, and to keys
/// that follow a PEM header in a string literal, in a comment or on the line of the header.
const SHORTEST_RUN: usize = 16;
/// A base64 line of minisign or signify with more characters than this is a secret key. Public keys and signatures are
/// shorter.
const MINISIGN_SECRET: usize = 120;

static PEM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("PRIVATE KEY"));
static PEM_UTF16: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("P\0R\0I\0V\0A\0T\0E\0 \0K\0E\0Y"));
static TUF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"private\""));
static JWK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"kty\""));
static AGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("AGE-SECRET-KEY-"));

/// Scans a file for private keys, one part at a time.
#[derive(Default)]
pub(crate) struct Scanner {
    head: Vec<u8>,
    window: Vec<u8>,
    length: u64,
    found: Option<String>,
}

impl Scanner {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.found.is_some() {
            return;
        }
        let missing = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(bytes.get(..missing).unwrap_or_default());
        self.window.extend_from_slice(bytes);
        if self.window.len() >= OVERLAP + CHUNK_SIZE {
            self.found = text_form(&self.window, End::OfWindow);
            self.window.drain(..self.window.len() - OVERLAP);
        }
    }

    /// Returns a description of the private key that was found, if any.
    pub(crate) fn finish(self) -> Option<String> {
        let whole_file = || whole_file_form(&self.head, self.length).map(ToString::to_string);
        self.found.clone().or_else(|| text_form(&self.window, End::OfFile)).or_else(whole_file)
    }
}

/// Whether the file continues after the window, which is the part of the file that is being scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The file continues after the window.
    OfWindow,
    /// The file ends with the window.
    OfFile,
}

/// Recognizes private keys in formats that can occur anywhere in a file.
fn text_form(window: &[u8], end: End) -> Option<String> {
    if let Some(label) = PEM.find_iter(window).find_map(|at| pem_label(window, at, end)) {
        return Some(format!("a private key in PEM (BEGIN {label})"));
    }
    if PEM_UTF16.find_iter(window).any(|at| is_pem_in_utf16(window, at)) {
        return Some("a private key in PEM, in UTF-16".into());
    }
    if TUF.find_iter(window).any(|at| is_tuf_key(window, at)) {
        return Some("a private key in TUF JSON format (keyval.private)".into());
    }
    if JWK.find_iter(window).any(|at| is_private_jwk(window, at)) {
        return Some("a private JSON Web Key (member d)".into());
    }
    AGE.find_iter(window).any(|at| is_age_key(window, at)).then(|| "an age secret key (AGE-SECRET-KEY-)".into())
}

/// Returns the label of the PEM header around `at` if a key follows the header. In source code, such headers may occur
/// without a key.
fn pem_label(window: &[u8], at: usize, end: End) -> Option<String> {
    let before = window.get(at.saturating_sub(64)..at)?;
    let begin = rfind(before, b"BEGIN ")?;
    let dashes = before.get(..begin)?;
    let label = before.get(begin + 6..)?;
    let is_label = label.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ');
    if !is_label || !(dashes.ends_with(b"----") || dashes.ends_with(b"---- ")) {
        return None;
    }
    let after = window.get(at + "PRIVATE KEY".len()..)?;
    let (block, after) = match after.strip_prefix(b" BLOCK") {
        Some(after) => (" BLOCK", after),
        None => ("", after),
    };
    let after = after.strip_prefix(b" ").unwrap_or(after).strip_prefix(b"----")?;
    let body = after.strip_prefix(b"-").unwrap_or(after);
    let label = || format!("{}PRIVATE KEY{block}", String::from_utf8_lossy(label));
    is_followed_by_key(body, end).then(label)
}

fn is_followed_by_key(body: &[u8], end: End) -> bool {
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(body.len());
    let (space, text) = body.split_at(start);
    let is_next_line = space.contains(&b'\n') || space.contains(&b'\r');
    match text.first() {
        // Nothing follows the header in this window. At the end of the file, the header counts as a key. Otherwise, the
        // next window decides.
        None => return end == End::OfFile,
        Some(byte) if is_next_line && is_base64(*byte) => return true,
        Some(_) => {}
    }
    // The key may be inside a string literal, in a comment, or on the same line as the header.
    let mut rest = text;
    loop {
        rest = match rest {
            [b'\\', b'n' | b'r', after @ ..] => after,
            [b'\\' | b'"' | b'\'' | b',' | b'#' | b'*' | b'>' | b';', after @ ..] => after,
            [byte, after @ ..] if byte.is_ascii_whitespace() => after,
            _ => break,
        };
    }
    rest.iter().take(SHORTEST_RUN).filter(|byte| is_base64(**byte)).count() == SHORTEST_RUN
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn is_pem_in_utf16(window: &[u8], at: usize) -> bool {
    let around = window.get(at.saturating_sub(128)..(at + 512).min(window.len())).unwrap_or_default();
    let narrow: Vec<u8> = around.iter().copied().filter(|byte| *byte != 0).collect();
    PEM.find_iter(&narrow).any(|at| pem_label(&narrow, at, End::OfFile).is_some())
}

/// Returns whether the match belongs to a private key in TUF's JSON format, that is, to `"private": "…"` near
/// `"keyval"` or `"keytype"`.
fn is_tuf_key(window: &[u8], at: usize) -> bool {
    let around = window.get(at.saturating_sub(CONTEXT)..(at + CONTEXT).min(window.len())).unwrap_or_default();
    let value = window.get(at + "\"private\"".len()..).and_then(string_value);
    value.is_some_and(|value| value.first().is_some_and(|first| *first != b'"'))
        && (find(around, b"\"keyval\"").is_some() || find(around, b"\"keytype\"").is_some())
}

/// Returns whether the match belongs to a private JSON Web Key, that is, to an object with `"kty"` and `"d": "…"`.
fn is_private_jwk(window: &[u8], at: usize) -> bool {
    let before = window.get(at.saturating_sub(CONTEXT)..at).unwrap_or_default();
    let after = window.get(at..(at + CONTEXT).min(window.len())).unwrap_or_default();
    let Some(start) = rfind(before, b"{") else { return false };
    let end = find(after, b"}").unwrap_or(after.len());
    let is_secret = |part: &[u8]| {
        memchr::memmem::find_iter(part, b"\"d\"").any(|at| {
            let value = part.get(at + 3..).and_then(string_value).unwrap_or_default();
            value.iter().take_while(|byte| is_base64(**byte) || matches!(byte, b'-' | b'_')).count() >= SHORTEST_RUN
        })
    };
    is_secret(before.get(start..).unwrap_or_default()) || is_secret(after.get(..end).unwrap_or_default())
}

/// Returns the rest of the text after the opening quote of a member's string value. `after_name` is the text after the
/// member's name.
fn string_value(after_name: &[u8]) -> Option<&[u8]> {
    after_name.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")
}

fn is_age_key(window: &[u8], at: usize) -> bool {
    let after = window.get(at + "AGE-SECRET-KEY-".len()..).unwrap_or_default();
    let after = after.strip_prefix(b"PQ-").unwrap_or(after);
    let is_bech32 = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    after.first() == Some(&b'1') && after.iter().take(9).filter(is_bech32).count() == 9
}

/// Recognizes private keys in formats that are found only at the start of a file, or only if the file contains nothing
/// else.
fn whole_file_form(head: &[u8], length: u64) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 7] = [
        (b"\xfe\xed\xfe\xed\0\0\0", "a Java key store (JKS)"),
        (b"\xce\xce\xce\xce\0\0\0", "a Java key store (JCEKS)"),
        (b"PuTTY-User-Key-File-", "a PuTTY private key"),
        (b"SSH PRIVATE KEY FILE FORMAT", "an SSH-1 private key"),
        (b"(11:private-key", "a gpg-agent private key"),
        (b"(21:protected-private-key", "a gpg-agent private key"),
        (b"Key: (", "a gpg-agent private key"),
    ];
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if let Some((_, form)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic) || text.starts_with(magic)) {
        return Some(form);
    }
    if is_minisign(text) {
        return Some("a minisign or signify secret key");
    }
    if find(head, b"nacl/secretbox").is_some() && find(head, b"\"ciphertext\"").is_some() {
        return Some("an encrypted private key in JSON");
    }
    if is_encrypted_by_securesystemslib(text) {
        return Some("an encrypted securesystemslib private key");
    }
    der::private_key(head, length).or_else(|| is_openpgp(head).then_some("an OpenPGP secret key"))
}

/// Returns whether the text is a secret key of minisign or signify. The file of such a key has a line that starts with
/// `untrusted comment:`, and then a line of base64 that decodes to `Ed…`.
fn is_minisign(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(comment) = lines.next() {
        if !comment.starts_with(b"untrusted comment:") {
            return false;
        }
        let Some(key) = lines.next().filter(|key| key.starts_with(b"RW")) else { continue };
        if key.len() > MINISIGN_SECRET || find(comment, b"secret key").is_some() {
            return true;
        }
    }
    false
}

/// Returns whether the text has the form `SALT@@@@ITERATIONS@@@@HMAC@@@@IV@@@@CIPHERTEXT`, with hexadecimal digits in
/// each part.
fn is_encrypted_by_securesystemslib(text: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(text).ok().filter(|text| text.contains("@@@@")) else { return false };
    let parts: Vec<&str> = text.trim_end().split("@@@@").collect();
    parts.len() == 5 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns whether the file starts with an OpenPGP secret key packet (RFC 9580, 5.5.3). The packet consists of a tag, a
/// length, the version 4 or 6, a date, a known algorithm and the key.
fn is_openpgp(head: &[u8]) -> bool {
    let packet = match head {
        [0x94, _, packet @ ..] | [0x95, _, _, packet @ ..] | [0xc5, 0..=191, packet @ ..] => packet,
        [0xc5, 192..=223, _, packet @ ..] => packet,
        _ => return false,
    };
    matches!(packet, [4 | 6, _, _, _, _, 1..=3 | 16..=19 | 22 | 25..=28, ..])
}
