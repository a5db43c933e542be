"""Creates the repositories of one scenario with python-tuf.

usage: make_with_python_tuf.py SCENARIO FOLDER

The program writes to FOLDER the file `root.json`, with which clients are shipped, and one folder for each
state of the repository, `1`, `2`, ..., with `metadata/`, `targets/` and `contents.json` ({target name: content}).
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

from python_repository import TOP_LEVEL, Repository
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, Targets

NAMES = {
    "plain.txt": b"one line\n",
    "sub/folder/with space.txt": b"two\nlines\n",
    "größe/日本語-🦀.tar.gz": "näme and content".encode(),
    "a+b&c=d;e,f@g!.txt": b"signs that a URL may hold",
    "empty": b"",
    # These two names look the same, but are different targets, because names are not normalised.
    "caf\u00e9.txt": b"one letter",
    "cafe\u0301.txt": b"a letter and its accent",
}


def publish(repository: Repository, folder: Path, state: int = 1, raised: bool = False) -> None:
    """Writes one state of the repository. With the first state, also writes the root that clients start from."""
    to = folder / str(state)
    if not repository.old_roots:
        (folder / "root.json").write_bytes(repository.write_root(to))
    else:
        for version, root in enumerate(repository.old_roots, start=1):
            (to / "metadata").mkdir(parents=True, exist_ok=True)
            (to / "metadata" / f"{version}.root.json").write_bytes(root)
    repository.write(to, raise_versions=raised)
    contents = {name: content.decode() for name, content in repository.contents.items()}
    (to / "contents.json").write_text(json.dumps(contents))


def with_names(repository: Repository) -> Repository:
    for name, content in NAMES.items():
        repository.add_target(name, content)
    return repository


def plain(folder: Path) -> None:
    """A repository without consistent snapshots and without lengths and hashes of metadata."""
    publish(with_names(Repository(consistent=False)), folder)


def consistent(folder: Path) -> None:
    """Consistent snapshots (6.2.1), all optional members, and two hashes for each target."""
    repository = Repository()
    repository.hash_algorithms = ["sha256", "sha512"]
    repository.pin_metadata = True
    publish(with_names(repository), folder)


def pretty(folder: Path) -> None:
    """Indented files with unknown members in every object."""
    repository = with_names(Repository(compact=False))
    repository.root.unrecognized_fields["x-root"] = {"ключ": [1, True, None, "\n"]}
    repository.targets.unrecognized_fields["x-targets"] = -7
    repository.targets.targets["plain.txt"].unrecognized_fields["custom"] = {"channel": "beta"}
    repository.root.roles["targets"].unrecognized_fields["x-role"] = "ro\"le\\"
    publish(repository, folder)


def algorithms(folder: Path) -> None:
    """Every key type that both implementations support, and thresholds above one with mixed types."""
    repository = Repository()
    kinds = [
        CryptoSigner.generate_ed25519,
        CryptoSigner.generate_ecdsa,
        CryptoSigner.generate_rsa,
        lambda: CryptoSigner.generate_rsa(scheme="rsassa-pss-sha512", size=3072),
        lambda: CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"),
    ]
    for role in TOP_LEVEL:
        repository.replace_keys(role, [make() for make in kinds], threshold=len(kinds))
    publish(with_names(repository), folder)


def delegations(folder: Path) -> None:
    """Two levels of delegations, priorities, a terminating delegation, unusual role names, and a threshold of two."""
    repository = Repository()
    repository.pin_metadata = True
    first, second = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ecdsa()
    roles = [
        DelegatedRole("libs/ä b?#", [], 1, False, paths=["libs/*.crate", "libs/*/*.crate"]),
        DelegatedRole("closed", [], 1, True, paths=["closed/*"]),
        DelegatedRole("last", [], 1, False, paths=["*/*", "*/*/*"]),
    ]
    repository.delegate("targets", roles, first)
    repository.delegate("libs/ä b?#", [DelegatedRole("inner", [], 1, False, paths=["libs/deep/*"])], second)
    repository.add_target("top.txt", b"top")
    repository.add_target("libs/one-1.0.0.crate", b"one", "libs/ä b?#")
    repository.add_target("libs/deep/två.crate", b"two", "inner")
    repository.add_target("closed/door", b"closed", "closed")
    repository.add_target("other/thing", b"other", "last")
    # Clients must not find these targets, which are outside the delegated paths or behind a terminating delegation.
    repository.role("inner").targets["other/stolen"] = repository.targets.targets["top.txt"]
    repository.role("last").targets["closed/window"] = repository.targets.targets["top.txt"]
    # The role "libs/ä b?#", which has a higher priority, also lists this target, so clients must ignore this entry.
    repository.role("last").targets["libs/one-1.0.0.crate"] = repository.targets.targets["top.txt"]
    publish(repository, folder)


def hash_prefixes(folder: Path) -> None:
    """Four bins, selected by the first hexadecimal digit of the hash of the target's name."""
    repository = Repository()
    signer = CryptoSigner.generate_ed25519()
    digits = "0123456789abcdef"
    bins = [
        DelegatedRole(f"bin-{n}", [], 1, False, path_hash_prefixes=list(digits[4 * n : 4 * n + 4]))
        for n in range(4)
    ]
    repository.delegate("targets", bins, signer)
    for name, content in NAMES.items():
        for role in bins:
            if role.is_delegated_path(name):
                repository.add_target(name, content, role.name)
    publish(repository, folder)


def succinct(folder: Path) -> None:
    """Sixteen succinct bins (TAP 15)."""
    repository = Repository()
    signer = CryptoSigner.generate_ed25519()
    roles = SuccinctRoles([], 1, 4, "hashed")
    repository.targets.delegations = Delegations(keys={}, succinct_roles=roles)
    repository.targets.add_key(signer.public_key)
    for name in roles.get_roles():
        repository.signers[name] = [signer]
        repository.delegated[name] = Targets(expires=repository.expires)
    for name, content in NAMES.items():
        repository.add_target(name, content, roles.get_role_for_target(name))
    publish(repository, folder)


def rotated(folder: Path) -> None:
    """State 2 adds four roots, which replace the root keys, their threshold and the online keys. The versions of
    timestamp and snapshot start at 1 again."""
    repository = with_names(Repository())
    repository.timestamp.version = 900
    repository.snapshot.version = 800
    publish(repository, folder, 1)
    to = folder / "2"
    for threshold, kind in [(1, "ed25519"), (2, "ecdsa"), (2, "rsa")]:
        former = repository.signers["root"]
        make = getattr(CryptoSigner, f"generate_{kind}")
        repository.replace_keys("root", [make() for _ in range(3)], threshold)
        repository.rotate_root(former, to)
    # After the online keys are replaced, versions may start at 1 again (5.3.11).
    for role in ["timestamp", "snapshot"]:
        repository.replace_keys(role, [CryptoSigner.generate_ed25519()])
    repository.rotate_root([], to)
    repository.timestamp.version = 1
    repository.snapshot.version = 1
    repository.targets.version += 1
    repository.add_target("new.txt", b"after the rotation")
    publish(repository, folder, 2)


def attacker(folder: Path) -> None:
    """States 1 and 9 are honest. The other states are attacks, most of which use the repository's own keys."""
    repository = with_names(Repository())
    repository.pin_metadata = True
    for signed in [repository.timestamp, repository.snapshot, repository.targets]:
        signed.version = 5
    publish(repository, folder, 1)

    def lie(state: int, tell) -> None:
        tell()
        publish(repository, folder, state)
        for signed in [repository.timestamp, repository.snapshot, repository.targets]:
            signed.version = 6
            signed.expires = repository.expires

    def lower(signed) -> None:
        signed.version = 4

    lie(2, lambda: lower(repository.timestamp))
    lie(3, lambda: lower(repository.snapshot))
    lie(4, lambda: lower(repository.targets))

    def expire(signed) -> None:
        signed.expires = datetime(2020, 1, 1, tzinfo=timezone.utc)

    lie(5, lambda: expire(repository.timestamp))
    lie(6, lambda: expire(repository.targets))
    # State 7 has a targets file whose hash no snapshot lists. State 8 has a timestamp signed with a key that the root
    # does not list.
    publish(repository, folder, 7)
    targets = folder / "7/metadata/6.targets.json"
    targets.write_bytes(targets.read_bytes().replace(b"plain.txt", b"pla1n.txt"))
    honest = repository.signers["timestamp"]
    repository.signers["timestamp"] = [CryptoSigner.generate_ed25519()]
    publish(repository, folder, 8)
    # State 9 is honest again, with higher versions than all previous states.
    repository.signers["timestamp"] = honest
    publish(repository, folder, 9, raised=True)


SCENARIOS = [plain, consistent, pretty, algorithms, delegations, hash_prefixes, succinct, rotated, attacker]

if __name__ == "__main__":
    wanted, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    {scenario.__name__: scenario for scenario in SCENARIOS}[wanted](folder)
