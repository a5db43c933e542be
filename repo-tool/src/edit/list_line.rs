//! A line of a list of targets: a JSON object or `SHA256  LENGTH  PATH`. See [`crate::edit::list`].

use std::fmt;

use lastmile_metadata::{Algorithm, Hashes, Json, TargetFile};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::LineFault;
use crate::edit::intake;
use crate::names;

/// The maximum length of a line in bytes.
pub(super) const MAX_LINE_LENGTH: usize = 1 << 24;

/// Parses a line. Returns `None` for an empty line or a comment.
pub(super) fn target_of(line: &[u8]) -> Result<Option<TargetFile>, LineFault> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > MAX_LINE_LENGTH {
        return Err(LineFault::TooLong);
    }
    let line = str::from_utf8(line).map_err(|_| LineFault::NotUtf8)?.trim_end_matches('\r');
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let refused = |error| LineFault::Path(Box::new(error));
    let (path, length, hashes, custom) = if line.starts_with('{') { json_entry(line)? } else { plain_entry(line)? };
    let path = names::target_path(&path).map_err(refused)?;
    let hashes = Hashes::new(hashes).ok_or(LineFault::NoHash)?;
    intake::check_length_of_name(&path, &hashes).map_err(refused)?;
    let mut target = TargetFile::new(path, length, hashes);
    target.custom = custom;
    Ok(Some(target))
}

/// The path, the length, the digests and the custom data of an entry.
type Entry = (String, u64, Vec<(Algorithm, Vec<u8>)>, Option<Json>);

fn json_entry(line: &str) -> Result<Entry, LineFault> {
    let JsonLine { path, length, hashes, custom } =
        serde_json::from_str(line).map_err(|error| LineFault::Json(error.to_string()))?;
    let hashes = hashes.0.iter().map(|(name, digest)| digest_of(name, digest)).collect::<Result<Vec<_>, _>>()?;
    let custom = custom.map(|object| Json::parse(&serde_json::Value::Object(object).to_string()));
    let custom = custom.transpose().map_err(LineFault::Custom)?;
    if custom.is_some() {
        // If the custom data has two members with the same name, `custom` contains only the last one. Therefore search
        // the whole line for duplicate members.
        Json::parse(line).map_err(LineFault::Entry)?;
    }
    Ok((path, length, hashes, custom))
}

fn plain_entry(line: &str) -> Result<Entry, LineFault> {
    let (digest, rest) = word(line).ok_or(LineFault::Form)?;
    let (length, path) = word(rest).ok_or(LineFault::NoPath)?;
    let length = length.parse().map_err(|_| LineFault::Length(length.to_string()))?;
    Ok((path.to_string(), length, vec![digest_of("sha256", digest)?], None))
}

/// Returns the first word and the rest of the text, without the spaces and tabs between them.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once([' ', '\t'])?;
    let rest = rest.trim_start_matches([' ', '\t']);
    (!word.is_empty() && !rest.is_empty()).then_some((word, rest))
}

fn digest_of(name: &str, digest: &str) -> Result<(Algorithm, Vec<u8>), LineFault> {
    let algorithm = Algorithm::named(name).ok_or_else(|| LineFault::UnknownHash(name.to_string()))?;
    let bytes = hex::decode(digest).ok().filter(|bytes| bytes.len() == algorithm.length());
    bytes.map(|bytes| (algorithm, bytes)).ok_or(LineFault::Digest(algorithm))
}

/// A line in JSON. Unknown members are refused, because they may be typos.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine {
    path: String,
    length: u64,
    hashes: HashMembers,
    custom: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The members of `hashes`. The type is not a map, because a map would accept two members with the same name and keep
/// only the last one.
struct HashMembers(Vec<(String, String)>);

impl<'de> Deserialize<'de> for HashMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = HashMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of hashes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HashMembers, A::Error> {
                let mut members: Vec<(String, String)> = Vec::new();
                while let Some(member) = map.next_entry::<String, String>()? {
                    if members.iter().any(|(name, _)| *name == member.0) {
                        return Err(Error::custom(format_args!("duplicate hash `{}`", member.0)));
                    }
                    members.push(member);
                }
                Ok(HashMembers(members))
            }
        }
        use serde::de::Error;
        deserializer.deserialize_map(Members)
    }
}
