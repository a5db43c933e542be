//! Scans the text of a large targets role in one pass. The scan checks that the text is canonical and well formed, and
//! records the position of each target. It holds in memory only the text of one target at a time, and the parts of the
//! role that are not targets.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;
use core::str::from_utf8;

use sha2::{Digest as _, Sha256};

use crate::index::Entry as _;
use crate::reader::{Item, Reader};
use crate::{ErrorKind, Role as _, TargetFile, Targets};

/// The length of a block in bytes. Files are read and hashed in blocks.
pub(crate) const BLOCK: usize = 64 * 1024;

pub(crate) struct Scanned {
    /// The SHA-256 of each block of the file.
    pub(crate) blocks: Vec<[u8; 32]>,
    /// The position of each target in the file.
    pub(crate) starts: Vec<u32>,
    /// The position after the last target in the file.
    pub(crate) end: u64,
    /// The role without its targets.
    pub(crate) rest: Targets,
}

pub(crate) struct Scan {
    signed: Range<u64>,
    /// The number of bytes received so far.
    taken: u64,
    block: Sha256,
    /// The bytes of `signed` that have been received but not yet parsed. They start at position `read` of the file.
    window: Vec<u8>,
    read: u64,
    /// The length that `window` must reach before it is parsed again. Without this minimum, a long value would be
    /// parsed again whenever another part is received.
    retry_at: usize,
    state: ScanState,
    /// The parsed text of `signed`, without the targets.
    rest: String,
    last_path: Option<String>,
    failed: bool,
    found: Found,
}

#[derive(Default)]
struct Found {
    blocks: Vec<[u8; 32]>,
    starts: Vec<u32>,
    end: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ScanState {
    Start,
    /// The scan is before a member of `signed`. The [`Item`] is `First` if this is the first member.
    Members(Item),
    /// The scan is before a target. The [`Item`] is `First` if this is the first target.
    Targets(Item),
    End,
}

impl Scan {
    /// `signed` gives the position of the value of the member `signed` in the file.
    pub(crate) fn new(signed: Range<u64>) -> Self {
        Self {
            read: signed.start,
            signed,
            taken: 0,
            block: Sha256::new(),
            window: Vec::new(),
            retry_at: 0,
            state: ScanState::Start,
            rest: String::new(),
            last_path: None,
            failed: false,
            found: Found::default(),
        }
    }

    pub(crate) fn update(&mut self, part: &[u8]) {
        if self.failed {
            return;
        }
        self.digest(part);
        let signed = within(part, self.taken, &self.signed);
        // Only the closing brace of the envelope may follow `signed`.
        let after = within(part, self.taken, &(self.signed.end..u64::MAX));
        self.failed |= !after.is_empty() && after != b"}";
        self.taken += part.len() as u64;
        // JSON does not allow unescaped control characters. Check for them here, because the reader accepts them:
        // canonical text may contain them.
        self.failed |= signed.iter().fold(false, |any, byte| any | (*byte < 0x20));
        self.window.extend_from_slice(signed);
        if self.window.len() >= self.retry_at {
            self.advance();
        }
    }

    pub(crate) fn finish(mut self) -> Result<Scanned, ErrorKind> {
        self.advance();
        if self.failed || self.state != ScanState::End || !self.window.is_empty() || self.taken != self.signed.end + 1 {
            return Err(ErrorKind::expected("JSON in canonical form"));
        }
        if !self.taken.is_multiple_of(BLOCK as u64) {
            self.found.blocks.push(self.block.finalize().into());
        }
        let text = alloc::sync::Arc::new(mem::take(&mut self.rest));
        let mut reader = Reader::nested(&text, 1);
        let rest = Targets::read(&mut reader, &text)?;
        reader.end()?;
        let Found { blocks, mut starts, end } = self.found;
        starts.shrink_to_fit();
        Ok(Scanned { blocks, starts, end, rest })
    }

    fn digest(&mut self, part: &[u8]) {
        let mut part = part;
        let mut taken = self.taken;
        while !part.is_empty() {
            let left = BLOCK - usize::try_from(taken % BLOCK as u64).unwrap_or_default();
            let (now, later) = part.split_at_checked(left).unwrap_or((part, &[]));
            self.block.update(now);
            taken += now.len() as u64;
            if taken.is_multiple_of(BLOCK as u64) {
                self.found.blocks.push(self.block.finalize_reset().into());
            }
            part = later;
        }
    }

    /// Parses as much of the window as possible.
    fn advance(&mut self) {
        let window = mem::take(&mut self.window);
        // Parse the text only up to the first incomplete or invalid character, because a part may end within a
        // character. The bytes that are not parsed now are validated again later, but validation is fast.
        let whole = from_utf8(&window).map_or_else(|error| error.valid_up_to(), str::len);
        let text = window.get(..whole).and_then(|whole| from_utf8(whole).ok()).unwrap_or_default();
        let mut at = 0;
        while let Some(length) = text.get(at..).and_then(|text| self.step(text)) {
            at += length;
            self.read += length as u64;
        }
        let left = window.get(at..).unwrap_or_default();
        self.retry_at = if at == 0 { left.len() * 2 } else { 0 };
        self.window.extend_from_slice(left);
    }

    /// Parses one bracket, member or target and returns its length. Returns `None` if the text is incomplete or
    /// invalid.
    fn step(&mut self, text: &str) -> Option<usize> {
        // Members are nested two levels deep (in the envelope and in `signed`). Targets are nested three levels deep
        // (also in `targets`).
        let mut reader = Reader::nested(text, if matches!(self.state, ScanState::Targets(_)) { 3 } else { 2 });
        match self.state {
            ScanState::Start => {
                reader.enter(b'{', "an object").ok()?;
                self.rest.push('{');
                self.state = ScanState::Members(Item::First);
            }
            ScanState::Members(item) => {
                if !reader.has_next(b'}', item).ok()? {
                    self.rest.push('}');
                    self.state = ScanState::End;
                    return Some(reader.position());
                }
                let start = reader.position();
                let is_targets = reader.name().ok()? == "targets";
                if is_targets {
                    reader.enter(b'{', "an object").ok()?;
                } else {
                    reader.skip().ok()?;
                    // A number at the end of the window may be incomplete.
                    reader.next()?;
                }
                self.rest.push_str(if item == Item::Later { "," } else { "" });
                self.rest.push_str(reader.since(start));
                self.state = if is_targets { ScanState::Targets(Item::First) } else { ScanState::Members(Item::Later) };
            }
            ScanState::Targets(item) => {
                if !reader.has_next(b'}', item).ok()? {
                    self.rest.push('}');
                    self.found.end = self.read;
                    self.state = ScanState::Members(Item::Later);
                    return Some(reader.position());
                }
                let start = self.read + reader.position() as u64;
                let path = reader.name().ok()?;
                if self.last_path.as_deref().is_some_and(|last| last >= path.as_ref()) {
                    return None;
                }
                TargetFile::check(&path, &mut reader).ok()?;
                self.found.starts.push(u32::try_from(start).ok()?);
                let last_path = self.last_path.get_or_insert_default();
                last_path.clear();
                last_path.push_str(&path);
                self.state = ScanState::Targets(Item::Later);
            }
            ScanState::End => return None,
        }
        Some(reader.position())
    }
}

/// Returns the bytes of `part` that belong to `range`. `part` starts at `offset`.
pub(crate) fn within<'p>(part: &'p [u8], offset: u64, range: &Range<u64>) -> &'p [u8] {
    let place = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX).min(part.len());
    part.get(place(range.start)..place(range.end)).unwrap_or_default()
}
