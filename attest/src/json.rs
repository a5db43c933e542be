//! Strict JSON (RFC 8259) for evidence and policies. The parser refuses input that other parsers might interpret
//! differently: members with the same name, numbers too large to be exact, a byte order mark, and deep nesting.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

const MAX_DEPTH: usize = 64;

/// The maximum number of values in a document. This limits the memory that a document with many short values, such as
/// `[1,1,1]`, can take. No statement exceeds the limit: a statement has at most 2^20 bytes (1 MiB), and each value
/// takes at least two bytes, including its separator.
const MAX_VALUES: usize = 1 << 19;

/// The largest integer that every parser represents exactly: 2^53 - 1.
const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer between -(2^53 - 1) and 2^53 - 1.
    Integer(i64),
    /// A number with a fraction or an exponent. A policy can allow such a number only as the value of a build
    /// parameter: the policy has patterns for these values, and compares the patterns with the text of the number.
    Fraction(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

/// A JSON object. The members have the same order as in the JSON text. No two members have the same name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Value)>);

/// The reason why a string is not strict JSON. The message contains the position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

impl Value {
    /// Parses a string that consists of one value.
    ///
    /// # Errors
    /// [`JsonError`] if the text is not strict JSON.
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let remaining = Cell::new(MAX_VALUES);
        let reader = Reader { depth: MAX_DEPTH, remaining: &remaining };
        let value = reader.deserialize(&mut deserializer).map_err(|error| JsonError(error.to_string()))?;
        deserializer.end().map_err(|error| JsonError(error.to_string()))?;
        Ok(value)
    }

    /// Returns the object, or `None` if the value is not an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the elements, or `None` if the value is not an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the string, or `None` if the value is not a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the value at a JSON pointer (RFC 6901), or `None` if there is no such value.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut value = self;
        for token in pointer.strip_prefix('/')?.split('/') {
            let name = token.replace("~1", "/").replace("~0", "~");
            value = match value {
                Self::Object(object) => object.get(&name)?,
                Self::Array(elements) => elements.get(array_index(&name)?)?,
                _ => return None,
            };
        }
        Some(value)
    }
}

/// Returns the array index that a token of a JSON pointer denotes. Leading zeros are not allowed (RFC 6901, section 4).
fn array_index(token: &str) -> Option<usize> {
    let is_canonical = token == "0" || !token.starts_with('0');
    let is_number = token.bytes().all(|byte| byte.is_ascii_digit());
    (is_canonical && is_number).then(|| token.parse().ok()).flatten()
}

impl fmt::Display for Value {
    /// Writes the value as compact JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Fraction(value) => write_fraction(f, *value),
            Self::String(text) => write_string(f, text),
            Self::Array(elements) => {
                f.write_str("[")?;
                for (index, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Object(object) => {
                f.write_str("{")?;
                for (index, (name, value)) in object.members().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write_string(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Writes a number with a fraction or an exponent, in decimal or scientific notation, whichever is shorter. In decimal
/// notation, `1e-300` would have about 300 digits.
fn write_fraction(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    let decimal = format!("{value}");
    let scientific = format!("{value:e}");
    f.write_str(if scientific.len() < decimal.len() { &scientific } else { &decimal })
}

fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

impl Object {
    /// Returns the value of a member, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Returns the members, in the same order as in the JSON text.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    #[must_use]
    pub(crate) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(own, _)| own != name).cloned().collect())
    }

    /// Creates an object from members with distinct names.
    #[cfg(feature = "toml")]
    pub(crate) fn of(members: Vec<(String, Value)>) -> Self {
        Self(members)
    }

    /// Returns whether the object has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads values. Refuses more than `depth` levels of nested arrays and objects, and more than `remaining` values.
#[derive(Clone, Copy)]
struct Reader<'a> {
    depth: usize,
    remaining: &'a Cell<usize>,
}

impl Reader<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let below = self.depth.checked_sub(1);
        let depth =
            below.ok_or_else(|| E::custom(format!("more than {MAX_DEPTH} levels of nested arrays and objects")))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let remaining = self.remaining.get().checked_sub(1);
        self.remaining.set(remaining.ok_or_else(|| D::Error::custom(format!("more than {MAX_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if value.abs() > MAX_INTEGER {
            return Err(E::custom(format!("the integer {value} is too large to be exact")));
        }
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        let integer = i64::try_from(value);
        integer
            .map_err(|_| E::custom(format!("the integer {value} is too large to be exact")))
            .and_then(|integer| self.visit_i64(integer))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // `serde_json` also calls this method for integers that do not fit into 64 bits.
        if value.fract() == 0.0 && value.abs() > 9_007_199_254_740_991.0 {
            return Err(E::custom("a number that is too large to be exact"));
        }
        Ok(Value::Fraction(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut elements = Vec::new();
        while let Some(element) = array.next_element_seed(below)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut members = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some(name) = map.next_key_seed(Name)? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("two members are named {name:?}")));
            }
            members.push((name, map.next_value_seed(below)?));
        }
        Ok(Value::Object(Object(members)))
    }
}

/// Reads the name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_and_written() {
        let text = r#"{"a":[1,-2,null,true,{"ä":"\"\\\n"}],"b":1.5}"#;
        assert_eq!(Value::parse(text.as_bytes()).unwrap().to_string(), text);
    }

    #[test]
    fn a_number_is_written_in_its_shorter_notation() {
        for (text, written) in [("1e-300", "1e-300"), ("1.50", "1.5"), ("0.25e1", "2.5"), ("-1E+15", "-1e15")] {
            let value = Value::parse(text.as_bytes()).unwrap();
            assert_eq!(value.to_string(), written);
            assert_eq!(Value::parse(written.as_bytes()).unwrap(), value);
        }
        assert_eq!(Value::parse(b"1e2").unwrap().to_string(), "100");
    }

    #[test]
    fn a_text_has_at_most_524288_values() {
        let array = |elements: usize| format!("[{}]", vec!["1"; elements].join(","));
        assert!(Value::parse(array((1 << 19) - 1).as_bytes()).is_ok());
        let error = Value::parse(array(1 << 19).as_bytes()).unwrap_err().to_string();
        assert!(error.contains("more than 524288 values"), "{error}");
    }

    #[test]
    fn input_that_two_parsers_could_read_differently_is_refused() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for (text, error) in [
            (r#"{"a":1,"a":2}"#, "two members are named"),
            (r#"{"a":1,"\u0061":2}"#, "two members are named"),
            (r#"{"x":{"a":1,"b":2,"a":1}}"#, "two members are named"),
            ("9007199254740992", "too large"),
            ("-9007199254740992", "too large"),
            ("18446744073709551616", "too large"),
            ("9007199254740992.0", "too large"),
            ("-9007199254740992.0", "too large"),
            ("1e400", "out of range"),
            ("\u{feff}{}", "expected value"),
            ("{} {}", "trailing"),
            ("{", "EOF"),
            ("", "EOF"),
            ("NaN", "expected"),
            ("\"\\ud800\"", "hex escape"),
            (&deep, "more than 64 levels of nested"),
        ] {
            let found = Value::parse(text.as_bytes()).expect_err(text).to_string();
            assert!(found.contains(error), "{text}: {found}");
        }
        assert!(Value::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn the_largest_exact_numbers_are_read() {
        for text in ["9007199254740991", "-9007199254740991"] {
            assert_eq!(Value::parse(text.as_bytes()), Ok(Value::Integer(text.parse().unwrap())));
            let fraction = format!("{text}.0");
            assert_eq!(Value::parse(fraction.as_bytes()), Ok(Value::Fraction(text.parse().unwrap())));
        }
    }

    #[test]
    fn a_pointer_finds_a_value() {
        let value = Value::parse(br#"{"a":[{"b/c~d":7},8],"":9,"01":1}"#).unwrap();
        for (pointer, found) in [
            ("/a/0/b~1c~0d", Some("7")),
            ("/a/1", Some("8")),
            ("/", Some("9")),
            ("/01", Some("1")),
            ("/a/01", None),
            ("/a/2", None),
            ("/a/-1", None),
            ("/a/1/x", None),
            ("a", None),
        ] {
            assert_eq!(value.pointer(pointer).map(Value::to_string).as_deref(), found, "{pointer}");
        }
        assert_eq!(value.pointer(""), Some(&value));
    }
}
