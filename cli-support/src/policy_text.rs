//! Converts policies from TOML to JSON. People may write either format, but `lastmile-attest` reads only JSON.

use serde_json::{Map, Value};
use toml_edit::{DocumentMut, Item, Table};

/// Returns the JSON text of a policy that is written as TOML or JSON. Text that begins with `{` is JSON and returned
/// unchanged. TOML date-times without quotes become strings.
///
/// # Errors
///
/// A description of what is wrong with the text: it is not UTF-8 or not TOML, or it contains a float, which policies do
/// not have.
pub fn policy_json(text: &[u8]) -> Result<Vec<u8>, String> {
    if text.trim_ascii_start().starts_with(b"{") {
        return Ok(text.to_vec());
    }
    let text = std::str::from_utf8(text).map_err(|_| "the policy is not valid UTF-8".to_owned())?;
    let document: DocumentMut = text.parse().map_err(|error| format!("the policy is not valid TOML: {error}"))?;
    Ok(table(document.as_table())?.to_string().into_bytes())
}

fn table(table: &Table) -> Result<Value, String> {
    let members = table.iter().map(|(name, item)| Ok((name.to_owned(), of_item(name, item)?)));
    Ok(Value::Object(members.collect::<Result<Map<_, _>, String>>()?))
}

fn of_item(name: &str, item: &Item) -> Result<Value, String> {
    match item {
        Item::None => Ok(Value::Null),
        Item::Value(value) => of_value(name, value),
        Item::Table(inner) => table(inner),
        Item::ArrayOfTables(tables) => Ok(Value::Array(tables.iter().map(table).collect::<Result<_, _>>()?)),
    }
}

fn of_value(name: &str, value: &toml_edit::Value) -> Result<Value, String> {
    use toml_edit::Value as Toml;
    Ok(match value {
        Toml::String(text) => Value::from(text.value().as_str()),
        Toml::Integer(number) => Value::from(*number.value()),
        Toml::Boolean(is_set) => Value::from(*is_set.value()),
        Toml::Datetime(time) => Value::from(time.value().to_string()),
        Toml::Float(_) => return Err(format!("`{name}` is a number with a fraction, which policies do not have")),
        Toml::Array(values) => {
            Value::Array(values.iter().map(|value| of_value(name, value)).collect::<Result<_, _>>()?)
        }
        Toml::InlineTable(inner) => {
            let members = inner.iter().map(|(name, value)| Ok((name.to_owned(), of_value(name, value)?)));
            Value::Object(members.collect::<Result<Map<_, _>, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str) -> Result<String, String> {
        policy_json(text.as_bytes()).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn toml_becomes_json_and_json_stays_as_it_is() {
        let toml = "version = 1\n[signer.a]\nkey = { keyval = { public = \"00\" } }\nnot-before = 2026-01-01T00:00:00Z\n\
            [[require]]\npaths = [\"a/*\", \"b\"]\nsct = true\n[[require]]\npaths = []\n";
        let json = r#"{"require":[{"paths":["a/*","b"],"sct":true},{"paths":[]}],"signer":{"a":{"key":{"keyval":{"public":"00"}},"not-before":"2026-01-01T00:00:00Z"}},"version":1}"#;
        assert_eq!(converted(toml).unwrap(), json);
        assert_eq!(converted(" {\"x\": 1.5}").unwrap(), " {\"x\": 1.5}");
    }

    #[test]
    fn what_no_policy_contains_is_refused() {
        assert!(converted("a = 1.5").unwrap_err().contains("`a` is a number with a fraction"));
        assert!(converted("a = 1\na = 2").unwrap_err().starts_with("the policy is not valid TOML: "));
        assert!(policy_json(b"\xff").unwrap_err().contains("UTF-8"));
    }
}
