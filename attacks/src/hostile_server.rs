//! A server that answers the request for one file of a new release with arbitrary bytes, and all other requests
//! honestly.

use std::io::{self, Write};
use std::sync::Arc;

use lastmile_testkit::{Connection, FakeNetwork, METADATA, Repository, Request, TARGETS, file_name, hash};

use crate::{Case, GOOD, release};

/// The maximum number of bytes that the server may send before the client stops reading an endless response. The number
/// is higher than the client's limit for any file, because the operating system can buffer several million bytes
/// between two sockets.
pub(super) const UNREAD: u64 = 20_000_000;

/// A repository in the state that the client knows, and the same repository after its next release.
pub(super) struct NewRelease {
    pub(super) honest: Repository,
    pub(super) newer: Repository,
}

#[derive(Clone)]
pub(super) struct ServedFile {
    pub(super) path: String,
    /// The role to which the file belongs, or `new-package`.
    pub(super) role: &'static str,
    /// The name of the file in transfer errors, without a backtick at the beginning or the end. For a target, the name
    /// starts with "the target".
    pub(super) file: String,
}

impl NewRelease {
    pub(super) fn new() -> NewRelease {
        let honest = release(2);
        let mut newer = honest.fork();
        newer.add_target("targets", "new-package", GOOD);
        newer.publish(&["team", "targets"]);
        NewRelease { honest, newer }
    }

    /// Returns the file of `role` in the new release. For `root`, returns the path of version 2, although the
    /// new release contains no new root. For `new-package`, returns the target `new-package`.
    pub(super) fn served(&self, role: &'static str) -> ServedFile {
        if role == "new-package" {
            let path = format!("{TARGETS}{}.{role}", hash(GOOD));
            return ServedFile { path, role, file: format!("the target `{role}") };
        }
        let version = match role {
            "root" => Some(2),
            "timestamp" => None,
            other => Some(self.newer.version(other)),
        };
        let file = file_name(role, version);
        ServedFile { path: format!("{METADATA}{file}"), role, file }
    }

    pub(super) fn served_files(&self) -> Vec<ServedFile> {
        ["root", "timestamp", "snapshot", "targets", "team", "new-package"].map(|role| self.served(role)).to_vec()
    }

    /// Creates a case in which `act` writes the response to the request for `served`, and all other responses are
    /// honest.
    pub(super) fn case(
        &self,
        served: &ServedFile,
        sample: impl Into<String>,
        act: impl Fn(&mut Connection, &[u8]) -> io::Result<()> + Send + Sync + 'static,
    ) -> Case {
        self.case_with_request(served, sample, move |_, connection, file| act(connection, file))
    }

    pub(super) fn case_with_request(
        &self,
        served: &ServedFile,
        sample: impl Into<String>,
        act: impl Fn(&Request, &mut Connection, &[u8]) -> io::Result<()> + Send + Sync + 'static,
    ) -> Case {
        let network = self.newer.network().fork();
        let path = served.path.clone();
        let case = Case::against(&self.honest).sample(format!("{}: {}", served.role, sample.into()));
        // A client that extracts the correct file from an invalid response does not count as harmed.
        let case = case.may_trust(self.newer.network());
        let case = case.advances(advanced(served.role)).responder(Arc::new(
            move |request: &Request, connection: &mut Connection| {
                // Some redirects lead to the original path below the folder `elsewhere/`.
                let asked = request.path.strip_prefix("elsewhere/").unwrap_or(&request.path);
                if request.path == path {
                    act(request, connection, &network.file(&path).unwrap_or_default())?;
                    return Ok(None);
                }
                Ok(Some(network.answer(asked)))
            },
        ));
        match served.role {
            "team" => case.get("team/package"),
            "new-package" => case.get("new-package"),
            _ => case,
        }
    }

    pub(super) fn network(&self) -> &FakeNetwork {
        self.newer.network()
    }
}

/// Returns the roles that a client updates before it requests the file of `role`.
pub(super) fn advanced(role: &str) -> &'static [&'static str] {
    match role {
        "root" | "timestamp" => &[],
        "snapshot" => &["timestamp"],
        "targets" => &["snapshot", "timestamp"],
        _ => &["snapshot", "targets", "timestamp"],
    }
}

impl ServedFile {
    /// Expects that the client reports a transfer error with the reason `why`, for example because the body is
    /// truncated.
    pub(super) fn refused_transfer(&self, case: Case, why: &'static str) -> Case {
        case.refused(self.file.clone(), why)
    }

    /// Expects that the client receives the file but refuses its content for the reason `why`.
    pub(super) fn refused_content(&self, case: Case, why: &'static str) -> Case {
        case.refused(self.role, why)
    }
}

/// Writes `first` once, and then `part` again and again until the client closes the connection.
pub(super) fn endless(connection: &mut Connection, first: &str, part: &[u8]) -> io::Result<()> {
    connection.write_all(first.as_bytes())?;
    let many = part.repeat((16_384 / part.len()).max(1));
    loop {
        connection.write_all(&many)?;
    }
}

pub(super) fn answer(connection: &mut Connection, status: &str, header: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    write!(connection, "HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    connection.write_all(body)
}

pub(super) fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

/// Returns a gzip member of about 3 MB that decodes to more than 500 million zeros.
pub(super) fn gzip_bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    // A single block with fixed Huffman codes: one zero byte, then many copies of 258 bytes at distance 1.
    bits.put(1, 1);
    bits.put(1, 2);
    bits.put_code(0x30, 8);
    for _ in 0..2_000_000 {
        bits.put_code(0b1100_0101, 8);
        bits.put_code(0, 5);
    }
    bits.put_code(0, 7);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    [&head[..], &bits.bytes, &[0; 8]].concat()
}

/// Returns a zstd frame of 40 KB that decodes to more than a gigabyte of zeros.
pub(super) fn zstd_bomb() -> Vec<u8> {
    // The window is 128 KiB, and each block repeats one byte 128 Ki times.
    let block = (131_072_u32 << 3) | (1 << 1);
    let [a, b, c, _] = block.to_le_bytes();
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    [head.to_vec(), [a, b, c, 0].repeat(10_000)].concat()
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    /// Writes the lowest bit first, as deflate stores numbers.
    fn put(&mut self, value: u32, count: usize) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if value >> bit & 1 == 1 {
                *self.bytes.last_mut().expect("a byte was pushed before") |= 1 << (self.used % 8);
            }
            self.used += 1;
        }
    }

    /// Writes the highest bit first, as deflate stores codes.
    fn put_code(&mut self, code: u32, count: usize) {
        for bit in (0..count).rev() {
            self.put(code >> bit & 1, 1);
        }
    }
}
