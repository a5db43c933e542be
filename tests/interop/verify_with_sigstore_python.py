"""Verifies evidence with sigstore-python and pypi-attestations, offline.

usage: verify_with_sigstore_python.py bundle BUNDLE TRUSTED_ROOT IDENTITY ISSUER SHA256
       verify_with_sigstore_python.py pep740 ATTESTATION FILE_NAME IDENTITY ISSUER SHA256

Prints "ok" or the error. PEP 740 objects are verified with the trusted root in the package pypi-attestations.
"""

import json
import sys
from pathlib import Path

from pypi_attestations import Attestation, Distribution, Provenance
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm


def verify_bundle(text, root, policy, digest):
    bundle = Bundle.from_json(text)
    verifier = Verifier(trusted_root=TrustedRoot.from_file(root))
    if "dsseEnvelope" not in json.loads(text):
        verifier.verify_artifact(Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest)), bundle, policy)
        return
    _, payload = verifier.verify_dsse(bundle, policy)
    subjects = json.loads(payload)["subject"]
    if digest not in [subject["digest"].get("sha256") for subject in subjects]:
        raise ValueError("no subject has the digest of the file")


def verify_pep740(text, name, policy, digest):
    if "attestation_bundles" in json.loads(text):
        attestation = Provenance.model_validate_json(text).attestation_bundles[0].attestations[0]
    else:
        attestation = Attestation.model_validate_json(text)
    attestation.verify(policy, Distribution(name=name, digest=digest), offline=True)


def main():
    kind, evidence, argument, identity, issuer, digest = sys.argv[1:]
    verify = {"bundle": verify_bundle, "pep740": verify_pep740}[kind]
    policy = Identity(identity=identity, issuer=issuer)
    try:
        verify(Path(evidence).read_text(), argument, policy, digest)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".splitlines()[0])
    else:
        print("ok")


main()
