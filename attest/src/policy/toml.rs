//! Converts policies between TOML, in which people write them, and JSON, in which roles sign them. The keys in TOML
//! have the same names as the members in JSON.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Key, Table, Value as TomlValue};

use crate::json::{Object, Value};

/// The order in which known members are written to TOML. Other members follow, in their order in the JSON text.
const ORDER: [&str; 13] = [
    "version",
    "upgrade",
    "trust",
    "signer",
    "builder",
    "require",
    "break-glass",
    "name",
    "kind",
    "paths",
    "except",
    "id",
    "by",
];

/// The reason why a policy cannot be converted between TOML and JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TomlError {
    /// The text is not TOML.
    #[error("line {line}: {problem}")]
    Syntax {
        /// The line number, starting at 1.
        line: usize,
        /// A description of the problem.
        problem: String,
    },
    /// A value cannot be converted.
    #[error("{place} is {problem}")]
    Value {
        /// The place in the policy, such as `signer.release.subject`.
        place: String,
        /// A description of the problem.
        problem: &'static str,
    },
    /// The text is not strict JSON, or is not an object.
    #[error("the policy is not strict JSON: {0}")]
    Json(String),
    /// The text is not UTF-8, so it is neither TOML nor JSON.
    #[error("the policy is not UTF-8")]
    NotUtf8,
}

/// Returns the JSON text of a policy that a person wrote in TOML or JSON. Text that begins with `{` cannot be TOML,
/// so it is returned unchanged and unchecked.
///
/// # Errors
/// [`TomlError`] if the text is not UTF-8, or if it does not begin with `{` and is not TOML.
pub fn to_json(text: &[u8]) -> Result<String, TomlError> {
    let text = str::from_utf8(text).map_err(|_| TomlError::NotUtf8)?;
    if text.trim_ascii_start().starts_with('{') { Ok(text.to_owned()) } else { from_toml(text) }
}

/// Converts a policy from TOML to JSON. Unquoted date-times become strings.
///
/// # Errors
/// [`TomlError`] if the text is not TOML, or contains a floating-point number.
pub fn from_toml(text: &str) -> Result<String, TomlError> {
    let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        TomlError::Syntax { line, problem: error.message().trim().replace('\n', ", ") }
    })?;
    Ok(Value::Object(json_of_table(document.as_table(), "")?).to_string())
}

/// Converts a policy from JSON to TOML, with a table for each trust root, signer, builder and rule.
///
/// # Errors
/// [`TomlError`] if the text is not a JSON object, or contains `null` or a number with a fraction or an exponent.
pub fn to_toml(json: &[u8]) -> Result<String, TomlError> {
    let value = Value::parse(json).map_err(|error| TomlError::Json(error.to_string()))?;
    let object = value.as_object().ok_or_else(|| TomlError::Json("not an object".into()))?;
    let mut document = DocumentMut::new();
    for (name, value) in ordered(object) {
        document.insert(name, item_of(value, name)?);
    }
    Ok(document.to_string())
}

fn json_of_table(table: &dyn toml_edit::TableLike, place: &str) -> Result<Object, TomlError> {
    let members = table.iter().map(|(name, item)| Ok((name.to_owned(), json_of_item(item, &below(place, name))?)));
    Ok(Object::of(members.collect::<Result<_, _>>()?))
}

fn json_of_item(item: &Item, place: &str) -> Result<Value, TomlError> {
    match item {
        Item::None => Ok(Value::Null),
        Item::Value(value) => json_of_value(value, place),
        Item::Table(table) => json_of_table(table, place).map(Value::Object),
        Item::ArrayOfTables(tables) => {
            let table =
                |(index, table): (usize, &Table)| json_of_table(table, &format!("{place}[{index}]")).map(Value::Object);
            Ok(Value::Array(tables.iter().enumerate().map(table).collect::<Result<_, _>>()?))
        }
    }
}

fn json_of_value(value: &TomlValue, place: &str) -> Result<Value, TomlError> {
    Ok(match value {
        TomlValue::String(text) => Value::String(text.value().clone()),
        TomlValue::Integer(integer) => Value::Integer(*integer.value()),
        TomlValue::Boolean(value) => Value::Bool(*value.value()),
        TomlValue::Datetime(time) => Value::String(time.value().to_string()),
        TomlValue::Float(_) => return Err(error(place, "a number with a fraction or an exponent")),
        TomlValue::InlineTable(table) => Value::Object(json_of_table(table, place)?),
        TomlValue::Array(array) => {
            let element = |(index, element)| json_of_value(element, &format!("{place}[{index}]"));
            Value::Array(array.iter().enumerate().map(element).collect::<Result<_, _>>()?)
        }
    })
}

/// Converts a top-level member of the policy. Gives each named entry and each rule a table with its own header.
fn item_of(value: &Value, place: &str) -> Result<Item, TomlError> {
    let objects = |elements: &[Value]| elements.iter().map(|it| it.as_object().cloned()).collect::<Option<Vec<_>>>();
    match value {
        Value::Object(entries) if entries.members().all(|(_, entry)| entry.as_object().is_some()) => {
            let mut table = Table::new();
            table.set_implicit(true);
            for (name, entry) in entries.members() {
                let entry = entry.as_object().cloned().unwrap_or_default();
                table.insert(name, Item::Table(table_of(&entry, &below(place, name))?));
            }
            Ok(Item::Table(table))
        }
        Value::Array(elements) if !elements.is_empty() => match objects(elements) {
            Some(objects) => {
                let table = |(index, object)| table_of(object, &format!("{place}[{index}]"));
                let tables = objects.iter().enumerate().map(table).collect::<Result<ArrayOfTables, _>>()?;
                Ok(Item::ArrayOfTables(tables))
            }
            None => value_of(value, place).map(Item::Value),
        },
        _ => value_of(value, place).map(Item::Value),
    }
}

fn table_of(object: &Object, place: &str) -> Result<Table, TomlError> {
    let mut table = Table::new();
    for (name, value) in ordered(object) {
        table.insert(name, Item::Value(value_of(value, &below(place, name))?));
    }
    Ok(table)
}

fn value_of(value: &Value, place: &str) -> Result<TomlValue, TomlError> {
    Ok(match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(integer) => (*integer).into(),
        Value::Bool(value) => (*value).into(),
        Value::Null => return Err(error(place, "null, which TOML does not have")),
        Value::Fraction(_) => return Err(error(place, "a number with a fraction or an exponent")),
        Value::Array(elements) => {
            let element = |(index, element)| value_of(element, &format!("{place}[{index}]"));
            TomlValue::Array(elements.iter().enumerate().map(element).collect::<Result<Array, _>>()?)
        }
        Value::Object(object) => {
            let mut table = InlineTable::new();
            for (name, value) in ordered(object) {
                table.insert_formatted(&Key::new(name), value_of(value, &below(place, name))?);
            }
            TomlValue::InlineTable(table)
        }
    })
}

/// Sorts the members by [`ORDER`], so that the TOML text is easy to read.
fn ordered(object: &Object) -> Vec<(&str, &Value)> {
    let mut members: Vec<_> = object.members().collect();
    members.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    members
}

fn below(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

fn error(place: &str, problem: &'static str) -> TomlError {
    TomlError::Value { place: place.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
# A comment.
version = 1

[signer.release]
key = { keytype = "ed25519", scheme = "ed25519", keyval = { public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" } }
not-before = 2026-01-01T00:00:00Z

[[require]]
name = "signed"
kind = "signature"
paths = ["app-*"]
by = ["release"]
"#;

    #[test]
    fn a_policy_in_toml_has_the_members_of_the_json_text() {
        let json = from_toml(POLICY).unwrap();
        let key = r#"{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}}"#;
        let signer = format!(r#"{{"release":{{"key":{key},"not-before":"2026-01-01T00:00:00Z"}}}}"#);
        let rule = r#"{"name":"signed","kind":"signature","paths":["app-*"],"by":["release"]}"#;
        assert_eq!(json, format!(r#"{{"version":1,"signer":{signer},"require":[{rule}]}}"#));
        crate::Policy::parse(json.as_bytes()).unwrap();
    }

    #[test]
    fn a_policy_that_is_shown_as_toml_has_the_same_meaning() {
        let json = from_toml(POLICY).unwrap();
        let shown = to_toml(json.as_bytes()).unwrap();
        assert!(shown.starts_with("version = 1\n\n[signer.release]\n"), "{shown}");
        assert!(shown.contains("\n[[require]]\nname = \"signed\"\nkind = \"signature\"\n"), "{shown}");
        let again = Value::parse(from_toml(&shown).unwrap().as_bytes()).unwrap();
        assert_eq!(again.pointer("/require"), Value::parse(json.as_bytes()).unwrap().pointer("/require"));
        assert_eq!(again.pointer("/signer/release/not-before"), Some(&Value::String("2026-01-01T00:00:00Z".into())));
        // An object stays inline if any of its members is not an object. A list stays inline if it is empty or any of
        // its elements is not an object.
        let odd = r#"{"version":2,"signer":{"x":1},"require":["a",{"b":true}],"empty":[]}"#;
        let again = from_toml(&to_toml(odd.as_bytes()).unwrap()).unwrap();
        assert_eq!(again, r#"{"version":2,"signer":{"x":1},"require":["a",{"b":true}],"empty":[]}"#);
    }

    #[test]
    fn json_is_recognized_by_its_first_character() {
        assert_eq!(to_json(b" \n{ \"version\": 1 }").unwrap(), " \n{ \"version\": 1 }");
        assert_eq!(to_json(b"version = 1\n").unwrap(), r#"{"version":1}"#);
        assert_eq!(to_json(b"\xff"), Err(TomlError::NotUtf8));
        assert!(matches!(to_json(b"[{"), Err(TomlError::Syntax { line: 1, .. })));
    }

    #[test]
    fn an_error_names_the_line_or_the_place() {
        for (text, error) in [
            ("version = 1\nversion = 2\n", "line 2: duplicate key"),
            ("version = 1\n\n[signer\n", "line 3: "),
            ("version = 1.5\n", "version is a number with a fraction or an exponent"),
            ("[signer.a]\nx = [1, 2e3]\n", "signer.a.x[1] is a number with a fraction or an exponent"),
            ("[[require]]\n[[require]]\nx = { y = 0.5 }\n", "require[1].x.y is a number"),
        ] {
            let found = from_toml(text).expect_err(text).to_string();
            assert!(found.starts_with(error), "{text}: {found}");
        }
        for (json, error) in [
            ("[]", "the policy is not strict JSON: not an object"),
            ("{", "the policy is not strict JSON: EOF"),
            (r#"{"a":{"b":{"c":null}}}"#, "a.b.c is null"),
        ] {
            let found = to_toml(json.as_bytes()).expect_err(json).to_string();
            assert!(found.starts_with(error), "{json}: {found}");
        }
    }
}
