//! A hostile server at the level of HTTP bytes: one file of a new release is answered in another way than all others.

use std::io::{self, Write};
use std::sync::Arc;

use lastmile_testkit::{Connection, FakeNetwork, METADATA, Repository, Request, TARGETS, file_name, hash};

use crate::{Case, GOOD, release};

/// Of what is sent without an end no client reads more than this: the longest file that is asked for here, and what the
/// system keeps between two sockets, which may be some millions of bytes.
pub(super) const UNREAD: u64 = 20_000_000;

/// A repository as the client knows it, and the release that is new on the network.
pub(super) struct NewRelease {
    pub(super) honest: Repository,
    pub(super) newer: Repository,
}

/// One file of the new release, and what a client has come to trust when it asks for that.
#[derive(Clone)]
pub(super) struct ServedFile {
    /// Where it is, below the server's address.
    pub(super) path: String,
    /// Whose it is: a role, or `new-package`.
    pub(super) role: &'static str,
    /// What an error about its bytes blames: the file's name below the metadata, or the target.
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

    /// The file of `role` in the new release: the next root (which there is not), another role, or `new-package`.
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

    /// All files that a client may ask for.
    pub(super) fn served_files(&self) -> Vec<ServedFile> {
        ["root", "timestamp", "snapshot", "targets", "team", "new-package"].map(|role| self.served(role)).to_vec()
    }

    /// A client that asks for `place` on its way meets what `act` writes there; everything else is honest.
    pub(super) fn case(
        &self,
        served: &ServedFile,
        sample: impl Into<String>,
        act: impl Fn(&mut Connection, &[u8]) -> io::Result<()> + Send + Sync + 'static,
    ) -> Case {
        self.case_with_request(served, sample, move |_, connection, file| act(connection, file))
    }

    /// As [`Scene::case`]; `act` is told how it was asked.
    pub(super) fn case_with_request(
        &self,
        served: &ServedFile,
        sample: impl Into<String>,
        act: impl Fn(&Request, &mut Connection, &[u8]) -> io::Result<()> + Send + Sync + 'static,
    ) -> Case {
        let (network, path) = (self.newer.network().fork(), served.path.clone());
        let case = Case::against(&self.honest).sample(format!("{}: {}", served.role, sample.into()));
        // Whoever reads the right file out of a wrong answer has done no harm.
        let case = case.may_trust(self.newer.network());
        let case = case.advances(advanced(served.role)).responder(Arc::new(
            move |request: &Request, connection: &mut Connection| {
                // What is behind `elsewhere/` is what redirects lead to.
                let asked = request.path.strip_prefix("elsewhere/").unwrap_or(&request.path);
                if request.path == path {
                    // Whether it is read is the client's affair.
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

    /// The network of the new release.
    pub(super) fn network(&self) -> &FakeNetwork {
        self.newer.network()
    }
}

/// The roles whose new files are trusted when a file of `role` is asked for.
pub(super) fn advanced(role: &str) -> &'static [&'static str] {
    match role {
        "root" | "timestamp" => &[],
        "snapshot" => &["timestamp"],
        "targets" => &["snapshot", "timestamp"],
        _ => &["snapshot", "targets", "timestamp"],
    }
}

impl ServedFile {
    /// An error because the bytes do not come, or are too many.
    pub(super) fn refused_transfer(&self, case: Case, why: &'static str) -> Case {
        case.refused(self.file.clone(), why)
    }

    /// An error about what the bytes say.
    pub(super) fn refused_content(&self, case: Case, why: &'static str) -> Case {
        case.refused(self.role, why)
    }
}

/// Writes the same for ever, that is until nobody reads any more.
pub(super) fn endless(connection: &mut Connection, first: &str, part: &[u8]) -> io::Result<()> {
    connection.write_all(first.as_bytes())?;
    let many = part.repeat((16_384 / part.len()).max(1));
    loop {
        connection.write_all(&many)?;
    }
}

/// A whole answer.
pub(super) fn answer(connection: &mut Connection, status: &str, header: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    write!(connection, "HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    connection.write_all(body)
}

/// The body as one chunk of HTTP/1.1.
pub(super) fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

/// Four gigabytes of zeros in a few kilobytes, as one gzip member.
pub(super) fn gzip_bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    // One last block with the fixed codes: a zero, then copies of the 258 bytes that stand one byte back.
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

/// More than a gigabyte of zeros in 40 KB, as one zstd frame.
pub(super) fn zstd_bomb() -> Vec<u8> {
    // A window of 128 KiB, and blocks of 128 KiB that repeat one byte.
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
    /// The lowest bit first, as numbers stand in deflate.
    fn put(&mut self, value: u32, count: usize) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if value >> bit & 1 == 1 {
                *self.bytes.last_mut().expect("there is one") |= 1 << (self.used % 8);
            }
            self.used += 1;
        }
    }

    /// The highest bit first, as codes stand there.
    fn put_code(&mut self, code: u32, count: usize) {
        for bit in (0..count).rev() {
            self.put(code >> bit & 1, 1);
        }
    }
}
