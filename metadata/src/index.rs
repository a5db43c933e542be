//! A large object in a signed document. It is not stored as a tree, but as an index into the canonical text, together
//! with the changes to the object.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::ErrorKind;
use crate::canonical;
use crate::reader::Reader;

/// The value of a member of an indexed object.
pub(crate) trait Entry: Sized + Clone {
    fn read(name: &str, reader: &mut Reader<'_>) -> Result<Self, ErrorKind>;
    /// Checks the value without storing it. Fails exactly when [`Entry::read`] fails.
    fn check(name: &str, reader: &mut Reader<'_>) -> Result<(), ErrorKind>;
    /// Writes the value in canonical form.
    fn write(&self) -> String;
}

/// The members of an object, in the order of their names.
#[derive(Clone, Debug)]
pub(crate) struct Index<E> {
    text: Arc<String>,
    /// The position of each member in `text`. The type is `u32` to save memory.
    starts: Vec<u32>,
    changes: BTreeMap<String, Option<E>>,
}

impl<E> Default for Index<E> {
    fn default() -> Self {
        Self { text: Arc::default(), starts: Vec::new(), changes: BTreeMap::new() }
    }
}

impl<E: Entry> Index<E> {
    /// Checks and indexes the object at the position of `reader`, which must be a reader of `text`.
    pub(crate) fn read(text: &Arc<String>, reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let mut starts = Vec::new();
        reader.members(|start, name, value| {
            E::check(&name, value).map_err(|error| error.within(&name))?;
            starts.push(u32::try_from(start).map_err(|_| ErrorKind::expected("a file below 4 GiB"))?);
            Ok(())
        })?;
        starts.shrink_to_fit();
        Ok(Self { text: Arc::clone(text), starts, changes: BTreeMap::new() })
    }

    pub(crate) fn find(&self, name: &str) -> Option<E> {
        match self.changes.get(name) {
            Some(change) => change.clone(),
            None => {
                let at = self.position(name).ok()?;
                self.starts.get(at).map(|start| self.member(*start))
            }
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.changes.get(name).map_or_else(|| self.position(name).is_ok(), Option::is_some)
    }

    pub(crate) fn insert(&mut self, name: &str, entry: E) {
        self.changes.insert(name.to_string(), Some(entry));
    }

    /// Adds or replaces many members, which must be sorted by name and have distinct names. All members are written to
    /// one text, so each member needs only the memory for its text and four more bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if the text would exceed 4 GiB.
    pub(crate) fn extend_sorted(&mut self, entries: impl Iterator<Item = (String, E)>) -> Result<(), ErrorKind> {
        let mut text = String::from("{");
        let mut starts = Vec::new();
        let mut push = |name: &str, value: &str| {
            if text.len() > 1 {
                text.push(',');
            }
            starts.push(u32::try_from(text.len()).map_err(|_| ErrorKind::expected("a file below 4 GiB"))?);
            canonical::push_string(&mut text, name);
            text.push(':');
            text.push_str(value);
            Ok::<_, ErrorKind>(())
        };
        let mut before = self.merged(|start| self.raw(start).to_string(), E::write).peekable();
        for (name, entry) in entries {
            while let Some((other, value)) = before.next_if(|(other, _)| **other < *name) {
                push(&other, &value)?;
            }
            before.next_if(|(other, _)| **other == *name);
            push(&name, &entry.write())?;
        }
        for (other, value) in before {
            push(&other, &value)?;
        }
        text.push('}');
        starts.shrink_to_fit();
        text.shrink_to_fit();
        *self = Self { text: Arc::new(text), starts, changes: BTreeMap::new() };
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let was_there = self.contains(name);
        self.changes.insert(name.to_string(), None);
        was_there
    }

    pub(crate) fn len(&self) -> usize {
        let differs = |(name, change): (&String, &Option<E>)| {
            isize::from(change.is_some()) - isize::from(self.position(name).is_ok())
        };
        self.starts.len().saturating_add_signed(self.changes.iter().map(differs).sum())
    }

    /// Returns all members in the order of their names, with all changes applied.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, E)> + '_ {
        self.merged(|start| self.member(start), Clone::clone).map(|(name, entry)| (name.into_owned(), entry))
    }

    /// Returns the name of each member, in order, and a result computed from its value. For unchanged members, `read`
    /// computes the result from the text. For changed members, `changed` computes it.
    pub(crate) fn each<'a, V>(
        &'a self,
        read: impl Fn(&mut Reader<'_>) -> Result<V, ErrorKind> + 'a,
        changed: impl Fn(&E) -> V + 'a,
    ) -> impl Iterator<Item = (Cow<'a, str>, V)> + 'a {
        #[expect(clippy::expect_used, reason = "each member was read when the index was made")]
        let base = move |start| {
            let mut reader = self.reader(start);
            reader.name().and_then(|_| read(&mut reader)).expect("a member that was already read")
        };
        self.merged(base, changed)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.merged(|_| (), |_| ()).map(|(name, ())| name.into_owned())
    }

    /// Returns the object in canonical form. Unchanged members are copied as text.
    pub(crate) fn write(&self) -> String {
        let mut out = String::with_capacity(self.text.len().min(2 + self.starts.len() * 256));
        out.push('{');
        let comma = |out: &mut String| {
            if out.len() > 1 {
                out.push(',');
            }
        };
        let mut copied = 0;
        for (name, change) in &self.changes {
            let (at, follows) = self.position(name).map_or_else(|at| (at, at), |at| (at, at + 1));
            if copied < at {
                comma(&mut out);
                out.push_str(self.members(copied, at));
            }
            copied = follows;
            if let Some(entry) = change {
                comma(&mut out);
                canonical::push_string(&mut out, name);
                out.push(':');
                out.push_str(&entry.write());
            }
        }
        if copied < self.starts.len() {
            comma(&mut out);
            out.push_str(self.members(copied, self.starts.len()));
        }
        out.push('}');
        out
    }

    /// Returns the canonical text of the members with the indices `from..to`.
    #[expect(clippy::expect_used, reason = "the positions of members are character boundaries of this text")]
    fn members(&self, from: usize, to: usize) -> &str {
        let start = self.starts.get(from).map_or(0, |start| *start as usize);
        let end = match self.starts.get(to) {
            // A comma precedes the next member.
            Some(next) => (*next as usize).saturating_sub(1),
            None => self.starts.last().map_or(0, |last| {
                // The end of the value is the end of the member.
                *last as usize + self.raw_member(*last).len()
            }),
        };
        self.text.get(start..end).expect("a range of the text")
    }

    /// Returns `true` if both objects share one text and have no changes. Members are not compared, so the result is
    /// `false` for equal objects that were read separately.
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
            && self.starts == other.starts
            && self.changes.is_empty()
            && other.changes.is_empty()
    }

    /// Merges the indexed members and the changes, which are both sorted by name.
    fn merged<'a, V>(
        &'a self,
        base: impl Fn(u32) -> V + 'a,
        changed: impl Fn(&E) -> V + 'a,
    ) -> impl Iterator<Item = (Cow<'a, str>, V)> + 'a {
        let mut members = self.starts.iter().copied().peekable();
        let mut changes = self.changes.iter().peekable();
        core::iter::from_fn(move || {
            loop {
                let order = match (members.peek(), changes.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(start), Some((name, _))) => self.name_at(*start).as_ref().cmp(name.as_str()),
                };
                if order == Ordering::Less {
                    let start = members.next()?;
                    return Some((self.name_at(start), base(start)));
                }
                if order == Ordering::Equal {
                    members.next();
                }
                if let Some((name, Some(entry))) = changes.next() {
                    return Some((Cow::Borrowed(name.as_str()), changed(entry)));
                }
            }
        })
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.starts.binary_search_by(|start| self.name_at(*start).as_ref().cmp(name))
    }

    #[expect(clippy::expect_used, reason = "each member was read when the index was made, and the text never changes")]
    fn name_at(&self, start: u32) -> Cow<'_, str> {
        self.reader(start).string().expect("a name that was already read")
    }

    #[expect(clippy::expect_used, reason = "each member was read when the index was made, and the text never changes")]
    fn member(&self, start: u32) -> E {
        let mut reader = self.reader(start);
        let name = reader.name().expect("a name that was already read");
        E::read(&name, &mut reader).expect("a member that was already read")
    }

    #[expect(clippy::expect_used, reason = "each member was read when the index was made, and the text never changes")]
    fn raw(&self, start: u32) -> &str {
        let mut reader = self.reader(start);
        reader.name().and_then(|_| reader.skip()).expect("a member that was already read")
    }

    /// Returns the text of a member: its name and its value.
    #[expect(clippy::expect_used, reason = "each member was read when the index was made, and the text never changes")]
    fn raw_member(&self, start: u32) -> &str {
        let mut reader = self.reader(start);
        reader.name().and_then(|_| reader.skip()).expect("a member that was already read");
        reader.since(start as usize)
    }

    fn reader(&self, start: u32) -> Reader<'_> {
        Reader::starting_at(&self.text, start as usize)
    }
}
