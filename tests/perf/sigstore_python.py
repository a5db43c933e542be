"""Verifies a bundle with sigstore-python, offline, and prints the seconds per verdict.

usage: sigstore_python.py BUNDLE TRUSTED_ROOT IDENTITY ISSUER SHA256 ROUNDS

The program reads the trusted root once, and the bundle again in each round.
"""

import json
import sys
import time
from pathlib import Path

from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm


def verify(verifier, text, policy, digest):
    bundle = Bundle.from_json(text)
    if '"messageSignature"' in text:
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest))
        verifier.verify_artifact(hashed, bundle, policy)
        return
    _, payload = verifier.verify_dsse(bundle, policy)
    if digest not in [subject["digest"].get("sha256") for subject in json.loads(payload)["subject"]]:
        raise ValueError("no subject has the digest of the file")


def main():
    bundle, root, identity, issuer, digest, rounds = sys.argv[1:]
    text = Path(bundle).read_text()
    verifier = Verifier(trusted_root=TrustedRoot.from_file(root))
    policy = Identity(identity=identity, issuer=issuer)
    start = time.perf_counter()
    for _ in range(int(rounds)):
        verify(verifier, text, policy, digest)
    print((time.perf_counter() - start) / int(rounds))


main()
