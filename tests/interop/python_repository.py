"""Creates repositories with python-tuf's metadata API, so that tests can fetch from them with lastmile.

A Repository is edited in memory. Each call of `write` writes all of its files except the roots.
"""

import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TOP_LEVEL = ["root", "timestamp", "snapshot", "targets"]


class Repository:
    """A repository: its roles, their keys, and the contents of its targets."""

    def __init__(self, consistent: bool = True, compact: bool = True) -> None:
        self.expires = (datetime.now(timezone.utc) + timedelta(days=30)).replace(microsecond=0)
        self.serializer = JSONSerializer(compact=compact)
        self.hash_algorithms = ["sha256"]
        # True if snapshot and timestamp list lengths and hashes.
        self.pin_metadata = False
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.contents: dict[str, bytes] = {}
        self.old_roots: list[bytes] = []
        self.root = Root(expires=self.expires, consistent_snapshot=consistent)
        self.timestamp = Timestamp(expires=self.expires)
        self.snapshot = Snapshot(expires=self.expires)
        self.targets = Targets(expires=self.expires)
        self.delegated: dict[str, Targets] = {}
        for role in TOP_LEVEL:
            self.add_key(role)

    def add_key(self, role: str, signer: CryptoSigner | None = None) -> CryptoSigner:
        """Adds a key to a top-level role, by default a new ed25519 key."""
        signer = signer or CryptoSigner.generate_ed25519()
        self.signers.setdefault(role, []).append(signer)
        self.root.add_key(signer.public_key, role)
        return signer

    def replace_keys(self, role: str, signers: list[CryptoSigner], threshold: int = 1) -> None:
        """Replaces the keys of a top-level role. If a root has already been written, call `rotate_root` afterwards."""
        for signer in self.signers[role]:
            self.root.revoke_key(signer.public_key.keyid, role)
        self.signers[role] = []
        for signer in signers:
            self.add_key(role, signer)
        self.root.roles[role].threshold = threshold

    def rotate_root(self, former: list[CryptoSigner], to: Path) -> None:
        """Writes the next root, signed with the keys in `former` and with the current root keys."""
        self.root.version += 1
        self.write_root(to, former)

    def add_target(self, name: str, content: bytes, role: str = "targets") -> None:
        target = TargetFile.from_data(name, content, self.hash_algorithms)
        self.role(role).targets[name] = target
        self.contents[name] = content

    def role(self, name: str) -> Targets:
        return self.targets if name == "targets" else self.delegated[name]

    def delegate(self, parent: str, roles: list, signer: CryptoSigner) -> None:
        """Adds delegations. `roles` are DelegatedRole values without keys. Each of them gets the key `signer`."""
        delegator = self.role(parent)
        if delegator.delegations is None:
            delegator.delegations = Delegations(keys={}, roles={})
        for role in roles:
            delegator.delegations.roles[role.name] = role
            delegator.add_key(signer.public_key, role.name)
            self.signers[role.name] = [signer]
            self.delegated[role.name] = Targets(expires=self.expires)

    def write(self, to: Path, raise_versions: bool = False) -> None:
        """Writes every file that a server must serve, except the roots."""
        if raise_versions:
            for signed in [self.timestamp, self.snapshot, self.targets, *self.delegated.values()]:
                signed.version += 1
        metadata = to / "metadata"
        metadata.mkdir(parents=True, exist_ok=True)
        for name, content in self.contents.items():
            self.write_target(to / "targets", name, content)
        for name, signed in [*self.delegated.items(), ("targets", self.targets)]:
            self.snapshot.meta[f"{name}.json"] = self.write_role(metadata, name, signed)
        self.timestamp.snapshot_meta = self.write_role(metadata, "snapshot", self.snapshot)
        data = self.sign(self.timestamp, self.signers["timestamp"])
        (metadata / "timestamp.json").write_bytes(data)

    def write_root(self, to: Path, former: list[CryptoSigner] | None = None) -> bytes:
        """Signs the current version of the root, and writes all versions. Returns the bytes of the current version."""
        signers = {s.public_key.keyid: s for s in [*(former or []), *self.signers["root"]]}
        data = self.sign(self.root, list(signers.values()))
        metadata = to / "metadata"
        metadata.mkdir(parents=True, exist_ok=True)
        self.old_roots.append(data)
        for version, root in enumerate(self.old_roots, start=1):
            (metadata / f"{version}.root.json").write_bytes(root)
        return data

    def write_role(self, metadata: Path, name: str, signed: Targets | Snapshot) -> MetaFile:
        data = self.sign(signed, self.signers[name])
        # A role name is a single segment of the URL, so all special characters are encoded.
        file = quote(name, safe="") + ".json"
        if self.root.consistent_snapshot:
            file = f"{signed.version}.{file}"
        (metadata / file).write_bytes(data)
        if self.pin_metadata:
            return MetaFile.from_data(signed.version, data, ["sha256", "sha512"])
        return MetaFile(signed.version)

    def write_target(self, folder: Path, name: str, content: bytes) -> None:
        *folders, last = name.split("/")
        names = [last]
        if self.root.consistent_snapshot:
            names = [f"{hashlib.new(a, content).hexdigest()}.{last}" for a in self.hash_algorithms]
        place = folder.joinpath(*folders)
        place.mkdir(parents=True, exist_ok=True)
        for file in names:
            (place / file).write_bytes(content)

    def sign(self, signed, signers: list[CryptoSigner]) -> bytes:
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes(self.serializer)
