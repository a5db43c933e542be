"""Creates a large repository with the same bytes that python-tuf would write.

usage: make.py FOLDER TARGETS REAL LENGTH KEY BITS FORM

The repository is created in FOLDER, with `metadata/` and `targets/`. The metadata lists TARGETS targets of
LENGTH bytes. The files of only REAL of them are written; `names` lists these targets, one per line. A key of
the type KEY (ed25519 or ecdsa) signs the targets roles. If BITS is 0, targets.json lists all targets.
Otherwise, the targets are distributed into 2^BITS bins, and FORM (`prefix` or `succinct`) is the kind of bins.
A repository with bins also gets a second state with one new target. The timestamp of this state is
`metadata/timestamp.2.json`.

python-tuf's own API takes minutes for a million targets, so this program writes the list of targets as text.
To check the result, python-tuf reads one targets role of each repository and writes it again, which must not
change a byte. Roles of 50 MB or more are not checked.
"""

import hashlib
import sys
from datetime import datetime, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

EXPIRES = datetime(2040, 1, 1, tzinfo=timezone.utc)
COMPACT = JSONSerializer(compact=True)


class Maker:
    def __init__(self, folder: Path, targets: int, real: int, length: int, key: str) -> None:
        self.metadata, self.files = folder / "metadata", folder / "targets"
        self.metadata.mkdir(parents=True)
        self.files.mkdir()
        self.length = length
        self.online, self.signer = CryptoSigner.generate_ed25519(), getattr(CryptoSigner, f"generate_{key}")()
        self.names = [f"project-{number:07d}-1.0.0.tar.gz" for number in range(targets)]
        real = {self.names[number * (targets // real)] for number in range(real)}
        (folder / "names").write_text("".join(f"{name}\n" for name in sorted(real)))
        self.listed = {name: self.listing(name, name in real) for name in self.names}

    def listing(self, name: str, real: bool) -> str:
        """Returns the entry of a target. Also writes the target's file if `real` is true."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        if real:
            content = (digest.encode() * (self.length // 64 + 1))[: self.length]
            digest = hashlib.sha256(content).hexdigest()
            (self.files / f"{digest}.{name}").write_bytes(content)
        return f'"{name}":{{"hashes":{{"sha256":"{digest}"}},"length":{self.length}}}'

    def role(self, listed: list[str], delegations: Delegations | None = None, version: int = 1) -> bytes:
        """Returns a signed targets file."""
        empty = Metadata(Targets(version=version, expires=EXPIRES, delegations=delegations))
        before, after = empty.signed_bytes.decode().split('"targets":{}')
        signed = f'{before}"targets":{{{",".join(listed)}}}{after}'
        signature = self.signer.sign(signed.encode())
        signatures = f'{{"keyid":"{signature.keyid}","sig":"{signature.signature}"}}'
        return f'{{"signatures":[{signatures}],"signed":{signed}}}'.encode()

    def flat(self) -> None:
        self.write("1.targets.json", self.role(list(self.listed.values())))
        self.top({"targets.json": MetaFile(1)}, 1)

    def bins(self, bits: int, form: str) -> None:
        digits = (bits + 3) // 4
        each = 1 << (4 * digits - bits)
        if form == "succinct":
            roles = SuccinctRoles([], 1, bits, "bin")
            delegations = Delegations({}, succinct_roles=roles)
            names = list(roles.get_roles())
        else:
            prefixes = [f"{number:0{digits}x}" for number in range(16**digits)]
            spans = [prefixes[number : number + each] for number in range(0, len(prefixes), each)]
            names = [f"{span[0]}-{span[-1]}" for span in spans]
            roles = [
                DelegatedRole(name, [self.signer.public_key.keyid], 1, False, path_hash_prefixes=span)
                for name, span in zip(names, spans, strict=True)
            ]
            delegations = Delegations({}, roles={role.name: role for role in roles})
        holder = Targets(expires=EXPIRES, delegations=delegations)
        if form == "succinct":
            holder.add_key(self.signer.public_key)
        else:
            delegations.keys[self.signer.public_key.keyid] = self.signer.public_key
        held = [[] for _ in names]
        for name, listing in self.listed.items():
            held[self.bin_of(name, bits)].append(listing)
        for name, listed in zip(names, held, strict=True):
            self.write(f"1.{name}.json", self.role(listed))
        self.write("1.targets.json", self.role([], delegations))
        meta = {f"{name}.json": MetaFile(1) for name in [*names, "targets"]}
        # Version 2 of the repository has a new target in one bin.
        new = "project-new-1.0.0.tar.gz"
        bin = self.bin_of(new, bits)
        self.write(f"2.{names[bin]}.json", self.role([*held[bin], self.listing(new, True)], version=2))
        self.top(meta | {f"{names[bin]}.json": MetaFile(2)}, 2)
        (self.metadata / "timestamp.json").rename(self.metadata / "timestamp.2.json")
        self.top(meta, 1)
        (self.metadata / "timestamp.1.json").write_bytes((self.metadata / "timestamp.json").read_bytes())

    @staticmethod
    def bin_of(name: str, bits: int) -> int:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> (32 - bits)

    def write(self, name: str, data: bytes) -> None:
        (self.metadata / name).write_bytes(data)

    def signed(self, signed, signer: CryptoSigner) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(signer)
        return metadata.to_bytes(COMPACT)

    def top(self, meta: dict[str, MetaFile], version: int) -> None:
        """Writes the snapshot and the timestamp. With version 1, also writes the root that clients start from."""
        snapshot = self.signed(Snapshot(version, expires=EXPIRES, meta=meta), self.online)
        self.write(f"{version}.snapshot.json", snapshot)
        timestamp = Timestamp(version, expires=EXPIRES, snapshot_meta=MetaFile(version))
        self.write("timestamp.json", self.signed(timestamp, self.online))
        root = Root(expires=EXPIRES, consistent_snapshot=True)
        for role in ["root", "snapshot", "timestamp"]:
            root.add_key(self.online.public_key, role)
        root.add_key(self.signer.public_key, "targets")
        if version == 1:
            self.write("1.root.json", self.signed(root, self.online))

    def check(self) -> None:
        """Checks that python-tuf writes the smallest file with targets in the same way, if it has less than 50 MB."""
        written = sorted(self.metadata.glob("1.*"), key=lambda path: path.stat().st_size)
        with_targets = [path for path in written if b'"length":' in path.read_bytes()]
        data = with_targets[0].read_bytes()
        if len(data) < 50_000_000:
            metadata = Metadata.from_bytes(data)
            assert metadata.to_bytes(COMPACT) == data, "python-tuf writes this file differently"


def main() -> None:
    folder, targets, real, length, key, bits, form = sys.argv[1:]
    maker = Maker(Path(folder), int(targets), int(real), int(length), key)
    if int(bits):
        maker.bins(int(bits), form)
    else:
        maker.flat()
    maker.check()


main()
