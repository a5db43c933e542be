//! The timestamp role (TUF specification 4.6), which lists the newest snapshot.

use alloc::string::String;
use alloc::sync::Arc;

use super::{Header, HeaderFields, Role, has_header};
use crate::canonical;
use crate::reader::Reader;
use crate::{ErrorKind, MetaFile, Unknown};

/// The signed content of a timestamp file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// The members that all roles have.
    pub header: Header,
    /// The version, length and hashes of the newest snapshot.
    pub snapshot: MetaFile,
}

has_header!(Timestamp);

impl Role for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn read(reader: &mut Reader<'_>, _: &Arc<String>) -> Result<Self, ErrorKind> {
        let mut header = HeaderFields::default();
        let mut snapshot = None;
        reader.object(|name, value| match name {
            "meta" => value.object(|name, value| {
                // Spec 4.6: a timestamp may list only snapshot.json.
                if name != "snapshot.json" {
                    return Err(ErrorKind::expected("no file except snapshot.json"));
                }
                snapshot = Some(MetaFile::read_value(value)?);
                Ok(())
            }),
            _ => header.member::<Self>(name, value),
        })?;
        let header = header.finish()?;
        Ok(Self { header, snapshot: snapshot.ok_or_else(|| ErrorKind::missing("snapshot.json").within("meta"))? })
    }

    fn write(&self) -> String {
        let meta = canonical::object([("snapshot.json", self.snapshot.write_value())], &Unknown::new());
        self.header.write::<Self>([("meta", meta)])
    }
}
