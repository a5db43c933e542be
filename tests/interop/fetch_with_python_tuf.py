"""Refreshes and downloads with python-tuf's client, and prints the result as one line of JSON.

usage: fetch_with_python_tuf.py METADATA_URL TARGETS_URL ROOT STATE OUTPUT [NAME ...]

ROOT is the shipped root. In the folder STATE, the client keeps its trusted metadata between runs. The
program writes the targets to OUTPUT as `0`, `1`, ... in the order of the NAMEs. The line is
  {"versions": {"root": 1, "timestamp": 3, ...}, "found": [true, false, ...]}   or
  {"error": "BadVersionNumberError", "message": "..."}
"""

import json
import sys
from pathlib import Path

from tuf.ngclient import Updater


def main() -> None:
    metadata_url, targets_url, root, state, output, *names = sys.argv[1:]
    Path(state).mkdir(parents=True, exist_ok=True)
    Path(output).mkdir(parents=True, exist_ok=True)
    try:
        updater = Updater(
            metadata_dir=state,
            metadata_base_url=metadata_url,
            target_base_url=targets_url,
            bootstrap=Path(root).read_bytes(),
        )
        updater.refresh()
        found = []
        for number, name in enumerate(names):
            target = updater.get_targetinfo(name)
            found.append(target is not None)
            if target is not None:
                updater.download_target(target, filepath=str(Path(output) / str(number)))
        print(json.dumps({"versions": versions(Path(state)), "found": found}))
    except Exception as error:  # any error is printed, and the test checks it
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))


def versions(state: Path) -> dict[str, int]:
    """Returns the versions that the client trusts now, read from its own files."""
    found = {}
    for role in ["root", "timestamp", "snapshot", "targets"]:
        found[role] = json.loads((state / f"{role}.json").read_bytes())["signed"]["version"]
    return found


main()
