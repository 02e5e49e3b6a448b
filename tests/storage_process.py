"""Real processes for the tests: each opens the node by itself and does one thing.

Usage: storage_process.py WHAT URL FOLDER [ARGUMENT...]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from storage import RunState, open_storage, upgrade

KEY = b"the key of the tests"


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    what, url, folder, *arguments = sys.argv[1:]
    if what == "upgrade":
        sys.stdin.readline()  # all of them start at once
        upgrade(url)
        say("done")
        return
    storage = open_storage(url, Path(folder), KEY, who=what)
    owner = f"{what}:{os.getpid()}"
    if what == "claim-and-hang":
        run = storage.runs.claim(owner)
        assert run is not None
        storage.runs.beat(run)
        say(f"{run.id} {run.attempt}")
        time.sleep(600)
    if what == "claim-all":
        sys.stdin.readline()
        while (run := storage.runs.claim(owner)) is not None:
            say(str(run.id))
            storage.runs.finish(run, state=RunState.COMPLETED, reason="", analysis=None, reports=[])
    if what == "take-to-send":
        taken = storage.outbox.claim(arguments[0], storage.audit.list()[0].at)
        say(" ".join(delivery.report.uid for delivery in taken))
        time.sleep(600)
    storage.close()


if __name__ == "__main__":
    main()
