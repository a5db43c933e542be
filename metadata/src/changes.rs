//! Compares two versions of signed JSON (TUF specification 4.1), and reports every changed value with its location.
//!
//! This module compares JSON without knowing the metadata formats, so it also finds changes in members that the formats
//! do not define. It reads both versions side by side without building a tree, and skips equal values by comparing
//! their bytes.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::ErrorKind;
use crate::reader::{Item, Reader};

/// The location of a value, given by the names of the members and array elements that lead to it.
///
/// Array elements are named as follows: a string by its text, an object by the string in its member `name`, and any
/// other element by its index. If several elements have the same name, the second one gets the suffix `#2`, the third
/// one `#3`, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Returns the names of the members and array elements that lead to the value.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    /// Returns a pointer with only the first `length` segments of this pointer.
    #[must_use]
    pub fn start(&self, length: usize) -> Self {
        Self(self.0.iter().take(length).cloned().collect())
    }

    fn with(&self, segment: impl Into<String>) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.into());
        Self(segments)
    }
}

impl<S: Into<String>> FromIterator<S> for Pointer {
    fn from_iter<I: IntoIterator<Item = S>>(segments: I) -> Self {
        Self(segments.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Pointer {
    /// Writes the pointer in the syntax of RFC 6901.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1")))
    }
}

/// A changed value. Changes within objects and arrays are reported individually, with two exceptions. If the type of a
/// value changed, the old and the new value are reported as a whole. If an empty object or array was added or removed,
/// it is reported as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'t> {
    /// The location of the value.
    pub pointer: Pointer,
    /// The kind of change.
    pub kind: ChangeKind<'t>,
}

/// The kind of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind<'t> {
    /// A value was added, removed or replaced. Both values are canonical JSON.
    Value {
        /// The old value, or `None` if the value was added.
        before: Option<&'t str>,
        /// The new value, or `None` if the value was removed.
        after: Option<&'t str>,
    },
    /// The elements of an array were reordered. Changed elements are reported separately. Adding elements at the end
    /// does not count as reordering.
    Order,
}

/// Returns the changes from `before` to `after`. Both texts must be canonical. If `before` is `None`, everything in
/// `after` counts as added. Members of the outermost object are skipped if `is_skipped` returns `true` for their names.
///
/// # Errors
/// [`ErrorKind::Malformed`] for text that is not canonical.
pub fn changes<'t>(
    before: Option<&'t str>,
    after: &'t str,
    is_skipped: &dyn Fn(&str) -> bool,
) -> Result<Vec<Change<'t>>, ErrorKind> {
    let mut walk = Walk { changes: Vec::new(), is_skipped };
    walk.values(&Pointer::default(), before, Some(after))?;
    Ok(walk.changes)
}

/// Parses an object in canonical JSON. Returns the name of each member, and its value as canonical JSON.
///
/// # Errors
/// [`ErrorKind::Malformed`] if the text is not a canonical object.
pub fn members(object: &str) -> Result<BTreeMap<Cow<'_, str>, &str>, ErrorKind> {
    let mut members = BTreeMap::new();
    Reader::new(object).members(|_, name, value| {
        members.insert(name, value.skip()?);
        Ok(())
    })?;
    Ok(members)
}

/// Parses an array in canonical JSON. Returns each element as canonical JSON.
///
/// # Errors
/// [`ErrorKind::Malformed`] if the text is not a canonical array.
pub fn elements(array: &str) -> Result<Vec<&str>, ErrorKind> {
    let mut texts = Vec::new();
    Reader::new(array).array(|value| {
        texts.push(value.skip()?);
        Ok(())
    })?;
    Ok(texts)
}

/// Returns the unescaped content of a canonical JSON string, or `None` if the value is not a string.
#[must_use]
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    Reader::new(value).string().ok()
}

/// Returns the value of the member `name` of an object in canonical JSON, or `None` if there is no such member.
///
/// # Errors
/// [`ErrorKind::Malformed`] if the text is not a canonical object.
pub fn member<'t>(object: &'t str, name: &str) -> Result<Option<&'t str>, ErrorKind> {
    let mut found = None;
    Reader::new(object).members(|_, member, value| {
        let text = value.skip()?;
        if member == name {
            found = Some(text);
        }
        Ok(())
    })?;
    Ok(found)
}

struct Walk<'t, 'f> {
    changes: Vec<Change<'t>>,
    is_skipped: &'f dyn Fn(&str) -> bool,
}

impl<'t> Walk<'t, '_> {
    fn values(&mut self, at: &Pointer, before: Option<&'t str>, after: Option<&'t str>) -> Result<(), ErrorKind> {
        if before == after {
            return Ok(());
        }
        let kind = |text: Option<&str>| text.and_then(|text| text.bytes().next());
        let is_empty = |text: Option<&str>| matches!(text, None | Some("{}" | "[]"));
        match (kind(before), kind(after)) {
            // An empty object or array that was added or removed is reported as a value.
            (None, _) | (_, None) if is_empty(before) && is_empty(after) => self.value(at, before, after),
            (Some(b'{') | None, Some(b'{') | None) => self.objects(at, before, after)?,
            (Some(b'[') | None, Some(b'[') | None) => self.arrays(at, before, after)?,
            _ => self.value(at, before, after),
        }
        Ok(())
    }

    fn value(&mut self, at: &Pointer, before: Option<&'t str>, after: Option<&'t str>) {
        self.changes.push(Change { pointer: at.clone(), kind: ChangeKind::Value { before, after } });
    }

    /// Relies on the order of the members, which are sorted by name in both objects.
    fn objects(&mut self, at: &Pointer, before: Option<&'t str>, after: Option<&'t str>) -> Result<(), ErrorKind> {
        let mut old = Members::of(before)?;
        let mut new = Members::of(after)?;
        let is_outermost = at.0.is_empty();
        loop {
            let (name, before, after) = match (old.name.take(), new.name.take()) {
                (None, None) => return Ok(()),
                (Some(one), Some(other)) if one == other => {
                    let after = new.value()?;
                    let is_same = old.skip_same(after)?;
                    let before = if is_same { after } else { old.value()? };
                    (one, Some(before), Some(after))
                }
                (Some(one), other) if other.as_ref().is_none_or(|other| one < *other) => {
                    new.name = other;
                    (one, Some(old.value()?), None)
                }
                (one, Some(other)) => {
                    old.name = one;
                    (other, None, Some(new.value()?))
                }
                (Some(one), None) => (one, Some(old.value()?), None),
            };
            if before != after && !(is_outermost && (self.is_skipped)(&name)) {
                self.values(&at.with(name), before, after)?;
            }
        }
    }

    fn arrays(&mut self, at: &Pointer, before: Option<&'t str>, after: Option<&'t str>) -> Result<(), ErrorKind> {
        let old = named_elements(before)?;
        let new = named_elements(after)?;
        let by_name = |all: &[(String, &'t str)]| all.iter().cloned().collect::<BTreeMap<String, &'t str>>();
        let old_by_name = by_name(&old);
        let new_by_name = by_name(&new);
        for (name, text) in old.iter().filter(|(name, _)| !new_by_name.contains_key(name)) {
            self.values(&at.with(name.as_str()), Some(text), None)?;
        }
        for (name, text) in &new {
            self.values(&at.with(name.as_str()), old_by_name.get(name).copied(), Some(text))?;
        }
        let names = |all: &[(String, &str)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let kept = names(&old).into_iter().filter(|name| new_by_name.contains_key(name));
        let added = names(&new).into_iter().filter(|name| !old_by_name.contains_key(name));
        if names(&new) != kept.chain(added).collect::<Vec<_>>() {
            self.changes.push(Change { pointer: at.clone(), kind: ChangeKind::Order });
        }
        Ok(())
    }
}

/// Reads the members of an object one by one. There are no members if [`Members::of`] receives `None`.
struct Members<'t> {
    reader: Option<Reader<'t>>,
    /// The name of the current member, or `None` after the last member. `reader` is at the value of this member.
    name: Option<Cow<'t, str>>,
}

impl<'t> Members<'t> {
    fn of(object: Option<&'t str>) -> Result<Self, ErrorKind> {
        let mut members = Self { reader: object.map(Reader::new), name: None };
        if let Some(reader) = &mut members.reader {
            reader.enter(b'{', "an object")?;
        }
        members.next(Item::First)?;
        Ok(members)
    }

    fn next(&mut self, item: Item) -> Result<(), ErrorKind> {
        if let Some(reader) = &mut self.reader {
            self.name = if reader.has_next(b'}', item)? { Some(reader.name()?) } else { None };
        }
        Ok(())
    }

    /// Returns the value of the current member, and moves to the next member.
    fn value(&mut self) -> Result<&'t str, ErrorKind> {
        let text = self.reader.as_mut().map_or(Ok(""), Reader::skip)?;
        self.next(Item::Later)?;
        Ok(text)
    }

    /// Skips the current member if its value equals `value`. Returns whether it was skipped.
    fn skip_same(&mut self, value: &str) -> Result<bool, ErrorKind> {
        let is_same = self.reader.as_mut().is_some_and(|reader| reader.skip_same(value));
        if is_same {
            self.next(Item::Later)?;
        }
        Ok(is_same)
    }
}

/// Returns the elements of an array, each with a unique name.
fn named_elements(array: Option<&str>) -> Result<Vec<(String, &str)>, ErrorKind> {
    let texts = array.map_or(Ok(Vec::new()), elements)?;
    let mut taken: BTreeSet<String> = BTreeSet::new();
    // The last suffix that was tried for each name. Trying all suffixes again for each of many elements with the same
    // name would take quadratic time.
    let mut suffixes: BTreeMap<String, usize> = BTreeMap::new();
    let mut named = Vec::with_capacity(texts.len());
    for (number, text) in texts.into_iter().enumerate() {
        let name = name_of(text)?.unwrap_or_else(|| Cow::Owned(number.to_string()));
        let mut unique = name.to_string();
        if taken.contains(&unique) {
            let suffix = suffixes.entry(unique).or_insert(1);
            unique = loop {
                *suffix += 1;
                let suffixed = alloc::format!("{name}#{suffix}");
                if !taken.contains(&suffixed) {
                    break suffixed;
                }
            };
        }
        taken.insert(unique.clone());
        named.push((unique, text));
    }
    Ok(named)
}

fn name_of(element: &str) -> Result<Option<Cow<'_, str>>, ErrorKind> {
    match element.bytes().next() {
        Some(b'"') => Reader::new(element).string().map(Some),
        Some(b'{') => match member(element, "name")? {
            Some(name) if name.starts_with('"') => Reader::new(name).string().map(Some),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;
    use crate::canonical::canonicalize;

    /// Returns each change as text in the form `/pointer before>after`.
    fn described(before: &str, after: &str) -> Vec<String> {
        let before = (!before.is_empty()).then(|| canonicalize(before).unwrap());
        let after = canonicalize(after).unwrap();
        let found = changes(before.as_deref(), &after, &|name| name == "skipped").unwrap();
        let lines = found.iter().map(|change| match change.kind {
            ChangeKind::Order => format!("{} order", change.pointer),
            ChangeKind::Value { before, after } => {
                format!("{} {}>{}", change.pointer, before.unwrap_or_default(), after.unwrap_or_default())
            }
        });
        lines.collect()
    }

    #[test]
    fn equal_texts_have_no_changes() {
        for text in ["{}", "[]", "1", r#"{"a":{"b":[1,{"name":"x"},"y","y"]},"c":null}"#] {
            assert!(described(text, text).is_empty());
        }
    }

    #[test]
    fn every_change_is_reported_with_its_location() {
        let cases: [(&str, &str, &[&str]); 17] = [
            ("", "{}", &[" >{}"]),
            ("", r#"{"a":{"b":1,"c":[]}}"#, &["/a/b >1", "/a/c >[]"]),
            (r#"{"a":1,"b":2}"#, r#"{"b":3,"c":4}"#, &["/a 1>", "/b 2>3", "/c >4"]),
            (r#"{"a":{}}"#, "{}", &["/a {}>"]),
            (r#"{"a":{"x":1}}"#, r#"{"a":{}}"#, &["/a/x 1>"]),
            (r#"{"a":{"x":1}}"#, r#"{"a":[]}"#, &[r#"/a {"x":1}>[]"#]),
            (r#"{"a":[1]}"#, r#"{"a":"[1]"}"#, &[r#"/a [1]>"[1]""#]),
            (r#"{"a":1}"#, r#"{"a":10}"#, &["/a 1>10"]),
            (r#"{"a":10}"#, r#"{"a":1}"#, &["/a 10>1"]),
            (r#"{"a/b":{"~":1}}"#, r#"{"a/b":{"~":2}}"#, &["/a~1b/~0 1>2"]),
            (r#"{"skipped":1,"a":{"skipped":1}}"#, r#"{"a":{"skipped":2}}"#, &["/a/skipped 1>2"]),
            (r#"["a","b","c"]"#, r#"["a","c","d"]"#, &[r#"/b "b">"#, r#"/d >"d""#]),
            (r#"["a","b"]"#, r#"["b","a"]"#, &[" order"]),
            (r#"["a","b"]"#, r#"["x","a","b"]"#, &[r#"/x >"x""#, " order"]),
            (r#"["a"]"#, r#"["a","a"]"#, &[r#"/a#2 >"a""#]),
            (r#"[{"name":"a","t":1},{"name":"b"}]"#, r#"[{"name":"b"},{"name":"a","t":2}]"#, &["/a/t 1>2", " order"]),
            (r#"[{"name":1,"t":1}]"#, r#"[{"name":1,"t":2}]"#, &["/0/t 1>2"]),
        ];
        for (before, after, expected) in cases {
            assert_eq!(described(before, after), expected, "{before} {after}");
        }
    }

    #[test]
    fn changes_in_elements_with_the_same_name_are_reported() {
        for (before, after) in [
            (r#"["a","a"]"#, r#"["a","a#2"]"#),
            (r#"["a","a"]"#, r#"["a"]"#),
            (r#"["a#2","a","a"]"#, r#"["a","a","a#2"]"#),
            (r#"["0",1]"#, r#"[1,"0"]"#),
            (r#"[0]"#, r#"["0"]"#),
            (r#"["x"]"#, r#"[{"name":"x"}]"#),
            (r#"[{"name":"x"}]"#, r#"[{"name":"x"},{"name":"x"}]"#),
            (r#"[[1],[2]]"#, r#"[[2],[1]]"#),
            (r#"[1,2]"#, r#"[2,1]"#),
        ] {
            assert!(!described(before, after).is_empty(), "{before} {after}");
            assert!(!described(after, before).is_empty(), "{after} {before}");
        }
    }

    #[test]
    fn many_equal_elements_take_time_in_proportion_to_their_number() {
        let many = |count: usize| format!("[{}]", vec!["\"a\""; count].join(","));
        assert_eq!(described(&many(200_000), &many(200_001)), [r#"/a#200001 >"a""#]);
    }

    /// Compares every pair in a large set of small values. If two values differ, changes must be reported in both
    /// directions. If they are equal, there must be no changes.
    #[test]
    fn no_difference_goes_unnoticed() {
        let leaves = ["1", "\"a\"", "\"a\\\"b\"", "{}", "[]", "{\"name\":\"a\"}"];
        let mut texts: Vec<String> = Vec::new();
        for one in leaves {
            for other in leaves {
                texts.push(format!("{{\"a\":{one},\"b\":{other}}}"));
                texts.push(format!("{{\"b\":{one},\"bb\":{other}}}"));
                texts.push(format!("[{one},{other}]"));
                texts.push(format!("{{\"a\":[{one},{{\"b\":{other}}}]}}"));
            }
        }
        for one in &texts {
            for other in &texts {
                let there = described(one, other);
                let back = described(other, one);
                assert_eq!(there.is_empty(), one == other, "{one} {other}");
                assert_eq!(there.is_empty(), back.is_empty(), "{one} {other}");
            }
        }
    }

    #[test]
    fn a_member_can_be_found_by_its_name() {
        let text = r#"{"a":[1,{"b":2}],"b":{"c":3}}"#;
        assert_eq!(member(text, "b"), Ok(Some(r#"{"c":3}"#)));
        assert_eq!(member(text, "c"), Ok(None));
        assert!(member("[]", "c").is_err());
        assert_eq!(members(text).unwrap().into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(elements("[1,\"a\"]").unwrap(), ["1", "\"a\""]);
        assert_eq!((string("\"a\\\"\"").as_deref(), string("1")), (Some("a\""), None));
    }
}
