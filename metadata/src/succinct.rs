//! Succinct hash bins (TAP 15), which are a short notation for 2ⁿ delegated roles with the same keys.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::canonical;
use crate::key::{read_keyids, read_threshold, write_keyids};
use crate::path_pattern::hash_of;
use crate::reader::Reader;
use crate::{ErrorKind, KeyId, RoleName, TargetPath, Threshold, Unknown};

const BIT_LENGTH: &str = "a number of bits from 1 to 32";

/// Hash bins for target paths. The first bits of the SHA-256 of a path determine the bin of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccinctRoles {
    /// The IDs of the keys that sign for every bin.
    pub keyids: Vec<KeyId>,
    /// The number of distinct keys that must sign each bin.
    pub threshold: Threshold,
    /// Members that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
    bit_length: u32,
    name_prefix: String,
}

impl SuccinctRoles {
    /// Creates 2 to the power of `bit_length` bins. The name of a bin consists of `name_prefix`, a hyphen and the
    /// number of the bin.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if `bit_length` is not between 1 and 32.
    pub fn new(
        keyids: Vec<KeyId>,
        threshold: Threshold,
        bit_length: u32,
        name_prefix: &str,
    ) -> Result<Self, ErrorKind> {
        if !(1..=32).contains(&bit_length) {
            let found = bit_length.to_string();
            return Err(ErrorKind::expected(BIT_LENGTH).but_found_text(&found).within("bit_length"));
        }
        let name_prefix = name_prefix.to_string();
        Ok(Self { keyids, threshold, unknown: Unknown::new(), bit_length, name_prefix })
    }

    /// Returns the number of bits of the hash that determine the bin. The number is between 1 and 32.
    #[must_use]
    pub fn bit_length(&self) -> u32 {
        self.bit_length
    }

    /// Returns the prefix of the names of all bins.
    #[must_use]
    pub fn name_prefix(&self) -> &str {
        &self.name_prefix
    }

    /// Returns the bin of `path`.
    #[must_use]
    pub fn role_for(&self, path: &TargetPath) -> RoleName {
        // TAP 15: the first bits of the hash determine the bin.
        let [a, b, c, d, ..] = hash_of(path);
        self.bin(u32::from_be_bytes([a, b, c, d]) >> (32 - self.bit_length))
    }

    /// Returns the names of all bins, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = RoleName> + '_ {
        (0..=u32::MAX >> (32 - self.bit_length)).map(|number| self.bin(number))
    }

    /// Returns whether `role` is one of the bins.
    #[must_use]
    pub fn contains(&self, role: &RoleName) -> bool {
        let digits = role.as_str().strip_prefix(&self.name_prefix).and_then(|rest| rest.strip_prefix('-'));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        number.is_some_and(|number| {
            u64::from(number) < 1 << self.bit_length && self.bin(number).as_str() == role.as_str()
        })
    }

    /// Returns the name of the bin `number`. The number is written in hexadecimal and padded with zeros, so that all
    /// names have the same length.
    #[must_use]
    pub fn bin(&self, number: u32) -> RoleName {
        let digits = self.bit_length.div_ceil(4) as usize;
        RoleName::bin(format!("{}-{number:0digits$x}", self.name_prefix))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let mut keyids = None;
        let mut threshold = None;
        let mut bit_length = None;
        let mut name_prefix = None;
        let mut unknown = Unknown::new();
        reader.object(|name, value| {
            match name {
                "keyids" => keyids = Some(read_keyids(value, &[])?),
                "threshold" => threshold = Some(read_threshold(value)?),
                "bit_length" => {
                    let start = value.position();
                    let bits = u32::try_from(value.unsigned()?).map_err(|_| value.expected_at(start, BIT_LENGTH))?;
                    bit_length = Some(bits);
                }
                "name_prefix" => name_prefix = Some(value.string()?.into_owned()),
                _ => value.keep(name, &mut unknown)?,
            }
            Ok(())
        })?;
        let keyids = keyids.ok_or_else(|| ErrorKind::missing("keyids"))?;
        let threshold = threshold.ok_or_else(|| ErrorKind::missing("threshold"))?;
        let bit_length = bit_length.ok_or_else(|| ErrorKind::missing("bit_length"))?;
        let name_prefix = name_prefix.ok_or_else(|| ErrorKind::missing("name_prefix"))?;
        Ok(Self { unknown, ..Self::new(keyids, threshold, bit_length, &name_prefix)? })
    }

    pub(crate) fn write(&self) -> String {
        let members = [
            ("keyids", write_keyids(&self.keyids)),
            ("threshold", self.threshold.to_string()),
            ("bit_length", self.bit_length.to_string()),
            ("name_prefix", canonical::string(&self.name_prefix)),
        ];
        canonical::object(members, &self.unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    fn bins(bit_length: u32) -> SuccinctRoles {
        SuccinctRoles::new(Vec::new(), Threshold::ONE, bit_length, "bins").unwrap()
    }

    fn name(text: &str) -> RoleName {
        RoleName::delegated(text).unwrap()
    }

    #[test]
    fn tap_15_the_first_bits_of_the_hash_choose_the_bin() {
        // The SHA-256 of `foo.txt` begins with ddab29ff.
        let path = TargetPath::new("foo.txt").unwrap();
        for (bits, bin) in
            [(1, "bins-1"), (4, "bins-d"), (5, "bins-1b"), (8, "bins-dd"), (10, "bins-376"), (32, "bins-ddab29ff")]
        {
            assert_eq!(bins(bits).role_for(&path), name(bin));
        }
    }

    #[test]
    fn tap_15_bin_names_have_one_length_and_other_names_are_not_bins() {
        let all: Vec<_> = bins(5).names().collect();
        assert_eq!((all.len(), &all[0], &all[31]), (32, &name("bins-00"), &name("bins-1f")));
        assert!(all.iter().all(|role| bins(5).contains(role)));
        for other in ["bins-20", "bins-0", "bins-000", "bins-1F", "bins-+1", "other-07", "bins", "bins-", "xbins-00"] {
            assert!(!bins(5).contains(&name(other)), "{other}");
        }
        assert!(bins(32).contains(&name("bins-ffffffff")));
    }

    #[test]
    fn tap_15_bins_survive_writing_and_reading() {
        let mut written = bins(5);
        written.unknown.insert("x".to_string(), Json::from_canonical("[]"));
        assert_eq!((written.bit_length(), written.name_prefix()), (5, "bins"));
        assert_eq!(SuccinctRoles::read(&mut Reader::new(&written.write())), Ok(written));
    }

    #[test]
    fn tap_15_bit_length_is_1_to_32() {
        for bits in [0, 33, 64, u32::MAX] {
            assert!(SuccinctRoles::new(Vec::new(), Threshold::ONE, bits, "bins").is_err());
        }
    }
}
