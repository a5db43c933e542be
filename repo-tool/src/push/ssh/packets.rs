//! Checks the packets that an SFTP server sends (draft-ietf-secsh-filexfer-02, section 3).
//!
//! The SFTP library trusts the lengths in packets. It allocates as much memory as a packet announces, and does not
//! check for an underflow when it subtracts from the length. Therefore this module refuses every packet with a length
//! that no honest server sends.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, ReadBuf};

/// The maximum length of a packet. It is the limit of OpenSSH plus 1 KiB for the header.
const MAX_LENGTH: u32 = (256 + 1) * 1024;
/// The type of the packets that contain a part of a file.
const DATA: u8 = 103;
/// The length of a packet's header in bytes. The header contains the length and the type of the packet.
const HEADER: usize = 5;

/// When the last packet was received, and why a packet was refused.
#[derive(Debug)]
pub(super) struct Replies {
    last: Mutex<Instant>,
    refused: OnceLock<String>,
}

impl Replies {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { last: Mutex::new(Instant::now()), refused: OnceLock::new() })
    }

    /// Returns the time when the last complete packet was received.
    pub(super) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the reason why a packet was refused, or `None` if no packet was refused. The connection ends when a
    /// packet is refused.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.get().map(String::as_str)
    }
}

/// Passes on the bytes of packets with acceptable lengths.
#[derive(Debug)]
pub(super) struct Packets<R> {
    from: R,
    replies: Arc<Replies>,
    /// The beginning of the current packet.
    header: Vec<u8>,
    /// The number of bytes of the current packet that have not been received yet. Zero until its header is complete.
    rest: usize,
}

impl<R> Packets<R> {
    pub(super) fn new(from: R, replies: Arc<Replies>) -> Self {
        Self { from, replies, header: Vec::with_capacity(HEADER), rest: 0 }
    }

    /// Checks the lengths of the packets in the next bytes.
    fn check(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let wanted = if self.rest > 0 { self.rest } else { HEADER - self.header.len() };
            let (taken, others) = bytes.split_at(wanted.min(bytes.len()));
            bytes = others;
            if self.rest > 0 {
                self.rest -= taken.len();
            } else {
                self.header.extend_from_slice(taken);
                let [a, b, c, d, kind] = self.header[..] else { continue };
                self.header.clear();
                self.rest = self.rest(u32::from_be_bytes([a, b, c, d]), kind)?;
            }
            if self.rest == 0 {
                *self.replies.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
        }
        Ok(())
    }

    /// Returns the number of bytes that follow the header of a packet. Fails if the length in the header is not valid.
    fn rest(&self, length: u32, kind: u8) -> io::Result<usize> {
        // Every packet contains its type (1 byte) and an ID or a version (4 bytes). A packet with a
        // part of a file also contains the length of the part (4 bytes).
        let shortest = if kind == DATA { 9 } else { 5 };
        if !(shortest..=MAX_LENGTH).contains(&length) {
            let text = format!("the server sent a packet with the invalid length {length}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, self.replies.refused.get_or_init(|| text).clone()));
        }
        Ok(usize::try_from(length - 1).unwrap_or(usize::MAX))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Packets<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let packets = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut packets.from).poll_read(context, buffer);
        let Poll::Ready(Ok(())) = read else { return read };
        let checked = packets.check(buffer.filled().get(before..).unwrap_or_default());
        if checked.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, content: &[u8]) -> Vec<u8> {
        [&u32::try_from(content.len() + 1).unwrap().to_be_bytes(), &[kind][..], content].concat()
    }

    fn check(bytes: &[u8], size: usize) -> io::Result<()> {
        let mut packets = Packets::new(io::empty(), Replies::new());
        bytes.chunks(size).try_for_each(|part| packets.check(part))
    }

    #[test]
    fn only_packets_with_acceptable_lengths_pass() {
        let good =
            [packet(2, &[0; 4]), packet(DATA, &[0; 8]), packet(DATA, &vec![7; MAX_LENGTH as usize - 1])].concat();
        for size in [1, 2, 5, 7, 1000, good.len()] {
            check(&good, size).unwrap();
            for length in [0, 1, 4, MAX_LENGTH + 1, u32::MAX] {
                let bad = [&good[..], &length.to_be_bytes(), &[2]].concat();
                assert!(check(&bad, size).is_err(), "{length}");
                // The filter refuses a length only once it knows the type of the packet. This is early enough, because
                // the library does not use a length before it has the type. The first packet is an exception: the
                // library uses its length at once, but limits it.
                assert!(check(&bad[..bad.len() - 1], size).is_ok());
            }
            let bad = [&good[..], &8_u32.to_be_bytes(), &[DATA]].concat();
            assert!(check(&bad, size).is_err());
        }
    }
}
