"""Runs python-tuf's client in the same way as its own example.

usage: python_tuf.py METADATA_URL TARGETS_URL ROOT STATE OUTPUT NAME ...
       python_tuf.py METADATA_URL TARGETS_URL ROOT STATE

The first form refreshes, and fetches each NAME that is not in OUTPUT yet. The second form refreshes twice
over one connection, and prints how many seconds the second refresh took.
"""

import sys
import time
from pathlib import Path

from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

METADATA_URL, TARGETS_URL, ROOT, STATE, *REST = sys.argv[1:]
FETCHER = Urllib3Fetcher()
# The metadata files are larger than the default limit.
CONFIG = UpdaterConfig(snapshot_max_length=1 << 31, targets_max_length=1 << 32)


def updater(output: str | None) -> Updater:
    return Updater(
        metadata_dir=STATE,
        metadata_base_url=METADATA_URL,
        target_dir=output,
        target_base_url=TARGETS_URL,
        fetcher=FETCHER,
        config=CONFIG,
        bootstrap=Path(ROOT).read_bytes(),
    )


def get(output: str, names: list[str]) -> None:
    client = updater(output)
    client.refresh()
    for name in names:
        target = client.get_targetinfo(name)
        if target is None:
            sys.exit(f"no target {name}")
        if client.find_cached_target(target) is None:
            client.download_target(target)


Path(STATE).mkdir(exist_ok=True)
if REST:
    Path(REST[0]).mkdir(exist_ok=True)
    get(REST[0], REST[1:])
else:
    updater(None).refresh()
    started = time.perf_counter()
    updater(None).refresh()
    print(time.perf_counter() - started)
