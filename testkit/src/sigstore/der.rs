//! An encoder for DER (ITU-T X.690), the encoding of X.509 certificates.

pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        Ok(long) => bytes.extend([0x81, long]),
        Err(_) => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(length).expect("at most 65535 bytes").to_be_bytes());
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Returns a SEQUENCE of values that are already encoded.
pub(super) fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    value(0x30, &values.concat())
}

pub(super) fn set(values: &[Vec<u8>]) -> Vec<u8> {
    value(0x31, &values.concat())
}

pub(super) fn octets(content: &[u8]) -> Vec<u8> {
    value(0x04, content)
}

/// Returns a BIT STRING with a whole number of bytes.
pub(super) fn bits(content: &[u8]) -> Vec<u8> {
    value(0x03, &[&[0], content].concat())
}

pub(super) fn boolean_true() -> Vec<u8> {
    value(0x01, &[0xff])
}

pub(super) fn text(text: &str) -> Vec<u8> {
    value(0x0c, text.as_bytes())
}

/// Returns an INTEGER. The first bit of `bytes` must not be set.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    value(0x02, bytes)
}

/// Returns a UTCTime, in the form `YYMMDDhhmmssZ`.
pub(super) fn utc_time(time: chrono::DateTime<chrono::Utc>) -> Vec<u8> {
    value(0x17, time.format("%y%m%d%H%M%SZ").to_string().as_bytes())
}

/// Returns a GeneralizedTime, in the form `YYYYMMDDhhmmssZ`.
pub(super) fn generalized_time(time: chrono::DateTime<chrono::Utc>) -> Vec<u8> {
    value(0x18, time.format("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

/// Returns the OBJECT IDENTIFIER for a dotted form such as `2.5.29.17`.
pub(super) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u32> = dotted.split('.').map(|arc| arc.parse().expect("a number")).collect();
    let mut content = vec![u8::try_from(arcs[0] * 40 + arcs[1]).expect("a small number")];
    for arc in &arcs[2..] {
        let groups = (0..5).rev().map(|group| (arc >> (7 * group)) & 0x7f).skip_while(|group| *group == 0);
        let mut groups: Vec<u8> = groups.map(|group| u8::try_from(group).expect("7 bits") | 0x80).collect();
        match groups.last_mut() {
            Some(last) => *last &= 0x7f,
            None => groups.push(0),
        }
        content.extend(groups);
    }
    value(0x06, &content)
}
