//! Tests of targets roles that are read from a file in parts. Whatever the length of the parts, the results must be the
//! same as for roles in memory. If the file changes while it is in use, the change must be detected.

use alloc::collections::BTreeMap;
use alloc::format;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU8, AtomicUsize};

use lastmile_keys::{PrivateKey, Scheme, Signer};

use super::*;
use crate::{
    Algorithm, Envelope, Hashes, Json, Key, KeyId, KeyRing, Limits, MetaFile, Role, RoleName, Threshold, Verified,
    Version, assemble, parse_time,
};

/// A file in memory that a test can change while a role is being read from it.
#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<AtomicU8>,
    length: AtomicUsize,
}

impl Disk {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.iter().copied().map(AtomicU8::new).collect(), length: AtomicUsize::new(bytes.len()) }
    }

    /// Replaces the content with `bytes`, which must not be longer than the current content.
    fn replace(&self, bytes: &[u8]) {
        self.bytes.iter().zip(bytes).for_each(|(place, byte)| place.store(*byte, Relaxed));
        self.length.store(bytes.len(), Relaxed);
    }
}

impl RandomAccess for Disk {
    fn length(&self) -> u64 {
        self.length.load(Relaxed) as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let start = offset as usize;
        let end = offset as usize + into.len();
        let found = self.bytes[..self.length.load(Relaxed)].get(start..end);
        found.is_some_and(|found| {
            into.iter_mut().zip(found).for_each(|(byte, place)| *byte = place.load(Relaxed));
            true
        })
    }
}

/// A file that [`RandomAccess::pass`] reads in parts of the given length.
#[derive(Debug)]
struct Cut(Disk, usize);

impl RandomAccess for Cut {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        self.0.read(offset, into)
    }

    fn pass(&self, one: &mut (dyn FnMut(&[u8]) + Send), other: &mut (dyn FnMut(&[u8]) + Send)) -> bool {
        for part in self.0.bytes.chunks(self.1) {
            let part: Vec<u8> = part.iter().map(|byte| byte.load(Relaxed)).collect();
            one(&part);
            other(&part);
        }
        true
    }
}

fn disk(bytes: &[u8]) -> Arc<Disk> {
    Arc::new(Disk::of(bytes))
}

fn signer(scheme: Scheme) -> PrivateKey {
    PrivateKey::from_seed(scheme, &[7; 32]).unwrap()
}

fn ring(scheme: Scheme, threshold: u32) -> KeyRing {
    let key = Key::from_public(signer(scheme).public_key());
    KeyRing::new(&BTreeMap::from([(key.keyid(), key.clone())]), &[key.keyid()], Threshold::new(threshold).unwrap())
}

fn path(number: usize) -> TargetPath {
    // Use a target path with a non-ASCII character and with characters that must be escaped.
    TargetPath::new(format!("dir/\"é\\{number:05}.bin")).unwrap()
}

fn role(count: usize) -> Targets {
    let mut targets = Targets::new(Version::ONE, parse_time("2030-01-01T00:00:00Z").unwrap());
    for number in 0..count {
        let hashes = Hashes::of(&number.to_be_bytes(), &[Algorithm::Sha256, Algorithm::Sha512]).unwrap();
        let mut target = TargetFile::new(path(number), number as u64, hashes);
        target.custom = (number % 7 == 0).then(|| Json::parse(r#"{"targets":{"x":[{},"}"]}}"#).unwrap());
        targets.insert(target);
    }
    targets
}

fn file_of(signed: &str, scheme: Scheme) -> Vec<u8> {
    let signer = signer(scheme);
    let keyid = Key::from_public(signer.public_key()).keyid();
    assemble(signed, &[Signature::new(keyid, signer.sign(signed.as_bytes()).unwrap())])
}

fn verify(file: &Arc<Disk>) -> Result<StoredTargets, ErrorKind> {
    let file: Arc<dyn RandomAccess> = Arc::clone(file) as _;
    verify_with(&file, &MetaFile::new(Version::ONE), &ring(Scheme::Ed25519, 1))
}

fn verify_with(file: &Arc<dyn RandomAccess>, listed: &MetaFile, ring: &KeyRing) -> Result<StoredTargets, ErrorKind> {
    let limits = Limits { signatures: 4, ..Limits::default() };
    StoredTargets::verify(file, &Required { role: &RoleName::TARGETS, ring, listed: Some(listed), limits: &limits })
}

fn held(bytes: &[u8]) -> Result<Verified<Targets>, crate::Error> {
    let role = &RoleName::TARGETS;
    Envelope::parse(role, bytes.to_vec())?.verify(role, &ring(Scheme::Ed25519, 1))
}

#[test]
fn a_role_reads_the_same_from_the_file_and_from_memory() {
    for scheme in [Scheme::Ed25519, Scheme::EcdsaP256, Scheme::EcdsaP384] {
        for count in [0, 1, 2, 1500] {
            let mut role = role(count);
            role.unknown.insert("x".into(), Json::parse("[1,{\"a\":null}]").unwrap());
            role.delegations = (count == 2).then(Delegations::new);
            let file: Arc<dyn RandomAccess> = disk(&file_of(&role.write(), scheme));
            let mut listed = MetaFile::new(Version::ONE);
            let bytes = FileContent::File(Arc::clone(&file)).into_bytes().unwrap();
            (listed.length, listed.hashes) = (Some(file.length()), Hashes::of(&bytes, &[Algorithm::Sha256]));
            let stored = verify_with(&file, &listed, &ring(scheme, 1)).unwrap();
            assert_eq!((stored.header(), stored.len()), (&role.header, count));
            assert_eq!(stored.delegations(), role.delegations.as_ref());
            assert_eq!(stored.rest.unknown, role.unknown);
            for number in (0..count + 1).step_by(11) {
                assert_eq!(stored.target(&path(number)), Ok(role.target(&path(number))));
            }
            assert_eq!(stored.target(&TargetPath::new("x").unwrap()), Ok(None));
            let paths: Result<Vec<_>, _> = stored.paths().collect();
            assert_eq!(paths.unwrap(), role.paths().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_file_can_be_read_in_parts_of_any_length() {
    for (count, length) in [(30, 1), (900, 1000), (900, BLOCK - 1), (900, BLOCK + 1), (900, 2 * BLOCK + 3)] {
        let role = role(count);
        let bytes = file_of(&role.write(), Scheme::Ed25519);
        assert!(count < 900 || bytes.len() > 3 * BLOCK, "{}", bytes.len());
        let file: Arc<dyn RandomAccess> = Arc::new(Cut(Disk::of(&bytes), length));
        let stored = verify_with(&file, &MetaFile::new(Version::ONE), &ring(Scheme::Ed25519, 1)).unwrap();
        for number in (0..count).step_by(count / 30) {
            assert_eq!(stored.target(&path(number)), Ok(role.target(&path(number))));
        }
    }
}

#[test]
fn a_role_refused_in_memory_is_also_refused_in_a_file() {
    let good = role(3).write();
    let listed = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        file_of(&changed, Scheme::Ed25519)
    };
    let twice = good.replace("00002.bin", "00001.bin");
    let unsorted = good.replace("00001.bin", "9.bin");
    for bytes in [
        listed("\"version\":1", "\"version\":01"),
        listed("\"version\":1", "\"version\":0"),
        listed("\"_type\":\"targets\"", "\"_type\":\"root\""),
        listed("\"length\":1", "\"length\":-1"),
        listed("\"length\":1", "\"length\":1.0"),
        listed("\"length\":1", "\"length\":1,\"length\":1"),
        listed("\"hashes\":{", "\"hash\":{"),
        listed("\"sha256\":\"", "\"sha256\":\"0"),
        listed("\"targets\":{\"", "\"targets\":[{\""),
        listed("}},\"version\"", "}}},\"version\""),
        listed("00001.bin", "000\\u00301.bin\\"),
        file_of(&twice, Scheme::Ed25519),
        file_of(&unsorted, Scheme::Ed25519),
        file_of(&(good.clone() + "}"), Scheme::Ed25519),
        file_of(&good[..good.len() - 1], Scheme::Ed25519),
        file_of("{}", Scheme::Ed25519),
        file_of("", Scheme::Ed25519),
    ] {
        let in_memory = held(&bytes);
        let in_file = verify(&disk(&bytes));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // In one case, the target `9.bin` is not in the sorted order that canonical JSON requires. A role in memory is
        // sorted before it is verified, so it is accepted. A role that is read from a file is refused.
        assert!(in_file.is_err(), "{text}");
        assert!(in_memory.is_err() || text.contains("9.bin"), "{text}");
    }
    for bytes in [&b""[..], b"{", b"{\"signatures\":[],\"signed\":", b"{\"signatures\":[]}", &[0xff; 100]] {
        assert!(verify(&disk(bytes)).is_err());
    }
}

#[test]
fn no_changed_byte_is_accepted() {
    let bytes = file_of(&role(3).write(), Scheme::Ed25519);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        // If the changed byte is neither signed nor part of the valid signature, the file may be accepted, but its
        // targets must be the same.
        if let Ok(stored) = verify(&disk(&changed)) {
            assert!(held(&changed).is_ok(), "{at}");
            assert_eq!(stored.target(&path(1)), Ok(role(3).target(&path(1))), "{at}");
        }
    }
}

#[test]
fn thresholds_are_checked_as_in_memory() {
    let file: Arc<dyn RandomAccess> = disk(&file_of(&role(2).write(), Scheme::Ed25519));
    let listed = MetaFile::new(Version::ONE);
    let threshold = Threshold::new(2).unwrap();
    let verdict = verify_with(&file, &listed, &ring(Scheme::Ed25519, 2)).err();
    assert_eq!(verdict, Some(ErrorKind::ThresholdNotMet { valid: 1, threshold }));
    let verdict = verify_with(&file, &listed, &ring(Scheme::EcdsaP256, 1)).err();
    assert_eq!(verdict, Some(ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE }));
    // Two IDs of one key count as one key.
    let key = Key::from_public(signer(Scheme::Ed25519).public_key());
    let ids = [key.keyid(), KeyId::new("again")];
    let keys = ids.iter().map(|id| (id.clone(), key.clone())).collect();
    let signed = role(2).write();
    let sig = signer(Scheme::Ed25519).sign(signed.as_bytes()).unwrap();
    let twice = assemble(&signed, &ids.clone().map(|id| Signature::new(id, sig.clone())));
    let file: Arc<dyn RandomAccess> = disk(&twice);
    let verdict = verify_with(&file, &listed, &KeyRing::new(&keys, &ids, threshold)).err();
    assert_eq!(verdict, Some(ErrorKind::ThresholdNotMet { valid: 1, threshold }));
}

#[test]
fn the_listed_length_and_hashes_are_checked() {
    let bytes = file_of(&role(2).write(), Scheme::Ed25519);
    let file: Arc<dyn RandomAccess> = disk(&bytes);
    let mut listed = MetaFile::new(Version::ONE);
    listed.length = Some(bytes.len() as u64 + 1);
    let verdict = verify_with(&file, &listed, &ring(Scheme::Ed25519, 1)).err();
    assert!(matches!(verdict, Some(ErrorKind::LengthMismatch { .. })));
    (listed.length, listed.hashes) = (None, Hashes::of(b"other", &[Algorithm::Sha512]));
    let verdict = verify_with(&file, &listed, &ring(Scheme::Ed25519, 1)).err();
    assert!(matches!(verdict, Some(ErrorKind::HashMismatch { .. })));
}

#[test]
fn a_change_of_the_file_after_verification_is_detected() {
    let signed = role(1500).write();
    let bytes = file_of(&signed, Scheme::Ed25519);
    let file = disk(&bytes);
    let stored = verify(&file).unwrap();
    // Change one target so that the file is still well formed and has the same length.
    let other = file_of(&signed.replace("\"length\":700}", "\"length\":701}"), Scheme::Ed25519);
    assert_eq!(bytes.len(), other.len());
    for changed in [&other[..], &bytes[..bytes.len() / 2], b""] {
        file.replace(changed);
        assert_eq!(stored.target(&path(700)), Err(ErrorKind::StoredFileChanged));
    }
    file.replace(&bytes);
    assert_eq!(stored.target(&path(700)), Ok(role(1500).target(&path(700))));
}

#[test]
fn f_cj_any_number_of_raw_control_characters_is_refused_but_spaces_are_accepted() {
    let mut role = role(1);
    role.unknown.insert("x".into(), Json::parse("\"a b\"").unwrap());
    for (between, is_read) in [(" ", true), ("\n", false), ("\n\n", false)] {
        let file = file_of(&role.write().replace("a b", &format!("a{between}b")), Scheme::Ed25519);
        // Use unescaped control characters, which are allowed in the signed text but not in a published file.
        let file = String::from_utf8(file).unwrap().replace("\\u000a", "\n");
        assert_eq!(verify(&disk(file.as_bytes())).is_ok(), is_read, "{between:?}");
    }
}

#[test]
fn limits_apply_as_in_memory() {
    let signed = role(1).write();
    let signature = |number: u8| Signature::new(KeyId::new(format!("{number}")), vec![number]);
    for (count, is_refused) in [(4, false), (5, true)] {
        let signatures: Vec<Signature> = (0..count).map(signature).collect();
        let bytes = assemble(&signed, &signatures);
        let limit = ErrorKind::LimitReached { limit: crate::Limit::Signatures, value: 4 };
        assert_eq!(verify(&disk(&bytes)).err() == Some(limit.clone()), is_refused, "{count}");
        assert_eq!(Envelope::<Targets>::read(bytes, 4).err() == Some(limit), is_refused, "{count}");
    }
}
