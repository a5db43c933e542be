//! Verifies signatures over statements and over files, made with keys in the policy. A signature over a file is
//! verified with the digests in the metadata, without the content of the file. Some keys, such as ed25519 keys, sign
//! the content itself instead of a digest. Their signatures over files cannot be verified without the content, and are
//! rejected.

use lastmile_keys::{MessageDigest, PublicKey};
use lastmile_metadata::Algorithm;

use crate::artifact::Artifact;
use crate::bundle::{Bundle, BundleContent, FileSignature};
use crate::dsse::Envelope;
use crate::rejection::Rejection;

/// The error message for a signature over a file that can be verified only with the content of the file.
pub(crate) const NO_DIGEST: &str =
    "a signature that this kind of key made over a file cannot be verified without the file; sign a statement instead";

/// Verifies the signature of a bundle, but not its log entries or timestamps.
pub(crate) fn verify_bundle(bundle: &Bundle, artifact: &Artifact, key: &PublicKey) -> Result<(), Rejection> {
    match bundle.content() {
        BundleContent::File(signature) => verify_file(signature, artifact, key),
        BundleContent::Statement(envelope) => verify_envelope(envelope, artifact, key),
    }
}

/// Verifies that the key made one of the signatures of an envelope, and that the statement is about the file.
pub(crate) fn verify_envelope(envelope: &Envelope, artifact: &Artifact, key: &PublicKey) -> Result<(), Rejection> {
    let signed_bytes = envelope.signed_bytes();
    // Try every signature, because the `keyid` of a signature is not authenticated.
    if !envelope.signatures().iter().any(|signature| key.verify(&signed_bytes, signature)) {
        return Err(Rejection::Signature);
    }
    Ok(envelope.statement().check_subject(artifact)?)
}

/// Verifies a signature over a file, with the digests that the metadata lists.
pub(crate) fn verify_file(signature: &FileSignature, artifact: &Artifact, key: &PublicKey) -> Result<(), Rejection> {
    check_digest(signature, artifact)?;
    let usable = key.message_digests().iter().filter(|digest| match &signature.digest {
        Some((algorithm, _)) => algorithm_of(**digest) == *algorithm,
        None => true,
    });
    let usable: Vec<MessageDigest> = usable.copied().collect();
    if usable.is_empty() {
        return Err(Rejection::Unsupported(NO_DIGEST.to_owned()));
    }
    let listed: Vec<(MessageDigest, &[u8])> =
        usable.iter().filter_map(|digest| Some((*digest, artifact.digest(algorithm_of(*digest))?))).collect();
    if listed.iter().any(|(algorithm, digest)| key.verify_digest(*algorithm, digest, &signature.signature)) {
        return Ok(());
    }
    if listed.is_empty() {
        let names: Vec<&str> = usable.iter().map(|digest| algorithm_of(*digest).name()).collect();
        return Err(Rejection::UnlistedDigest(names.join(" or ")));
    }
    Err(Rejection::Signature)
}

/// Checks that the digest in a signature, if there is one, equals the digest that the metadata lists.
pub(crate) fn check_digest(signature: &FileSignature, artifact: &Artifact) -> Result<(), Rejection> {
    let Some((algorithm, digest)) = &signature.digest else { return Ok(()) };
    match artifact.digest(*algorithm) {
        Some(listed) if listed == digest => Ok(()),
        Some(_) => Err(Rejection::OtherFile),
        None => Err(Rejection::UnlistedDigest(algorithm.name().to_owned())),
    }
}

fn algorithm_of(digest: MessageDigest) -> Algorithm {
    match digest {
        MessageDigest::Sha256 => Algorithm::Sha256,
        MessageDigest::Sha384 => Algorithm::Sha384,
        MessageDigest::Sha512 => Algorithm::Sha512,
    }
}
