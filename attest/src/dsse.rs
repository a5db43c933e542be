//! Reads DSSE envelopes. An envelope contains a statement and one or more signatures. Each signature covers the
//! statement and its media type.
//!
//! Source: <https://github.com/secure-systems-lab/dsse/blob/v1.0.0/envelope.md> and `protocol.md` in the same folder.

use crate::fields::{Fields, FormatError};
use crate::json::Value;
use crate::statement::{PAYLOAD_TYPE, Statement};

/// The maximum length of a payload, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;

const MAX_SIGNATURES: usize = 16;

/// The maximum length of a signature, in bytes. A signature by an 8192-bit RSA key has this length.
pub(crate) const MAX_SIGNATURE: usize = 1024;

/// An envelope whose payload is a statement.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
    statement: Statement,
}

/// The base64 alphabets that an envelope may use.
#[derive(Clone, Copy)]
pub(crate) enum Alphabet {
    /// The standard alphabet, as in a Sigstore bundle.
    Standard,
    /// The standard or the URL-safe alphabet, as in an envelope outside a bundle.
    Any,
}

impl Envelope {
    /// Reads an envelope and the statement in its payload. Refuses any other payload.
    pub(crate) fn read(value: &Value, alphabet: Alphabet) -> Result<Self, FormatError> {
        let fields = Fields::read(value, "envelope", &["payloadType", "payload", "signatures"])?;
        let payload_type = fields.string("payloadType")?;
        if payload_type != PAYLOAD_TYPE {
            return Err(fields.error("payloadType", &format!("is {payload_type:?}, expected {PAYLOAD_TYPE:?}")));
        }
        let payload = alphabet.decode(fields, "payload", MAX_PAYLOAD)?;
        let elements = fields.array("signatures", MAX_SIGNATURES)?;
        if elements.is_empty() {
            return Err(fields.error("signatures", "is empty"));
        }
        let signatures = elements.iter().map(|value| {
            // Ignore the `keyid`, which is an unauthenticated hint.
            let fields = Fields::read(value, "envelope.signatures", &["keyid", "sig"])?;
            if fields.optional("keyid").is_some_and(|keyid| keyid.as_str().is_none()) {
                return Err(fields.error("keyid", "is not a string"));
            }
            alphabet.decode(fields, "sig", MAX_SIGNATURE)
        });
        let signatures = signatures.collect::<Result<_, _>>()?;
        let statement = Statement::parse(&payload).map_err(|error| FormatError::new(error.to_string()))?;
        Ok(Self { payload, signatures, statement })
    }

    /// Returns the signatures. There is at least one.
    pub(crate) fn signatures(&self) -> &[Vec<u8>] {
        &self.signatures
    }

    pub(crate) fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Returns the bytes that are signed: the pre-authentication encoding of the media type and the payload.
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(&self.payload)
    }
}

/// Returns the pre-authentication encoding of [`PAYLOAD_TYPE`] and a payload.
pub(crate) fn signed_bytes(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Alphabet {
    fn decode(self, fields: Fields<'_>, name: &str, limit: usize) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Standard => fields.base64(name, limit),
            Self::Any => fields.base64_of_any_alphabet(name, limit),
        }
    }
}
