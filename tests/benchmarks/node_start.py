"""Seconds from `dictamen serve` until C-ECHO answers, models and all: fresh, then started again.

  python tests/benchmarks/node_start.py [--starts 5]

The shipped chest bundle is configured, as in `dictamen init`. Beside it stand the load average and
the CPU seconds that all processes of the node had taken by then: on a busy machine those tell more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import intake_rates
import raw_sender
from system.node import NodeUnderTest


def start(node: NodeUnderTest) -> tuple[float, float, float]:
    """Seconds until an association is answered, CPU seconds by then, seconds until readiness."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "dicom_node.cli", "serve", str(node.file)]
    with node.log.open("ab") as log:
        node.process = subprocess.Popen(command, stdout=log, stderr=log)
    while True:
        try:
            raw_sender.Sender(node.port, sop_class=raw_sender.VERIFICATION).release()
            break
        except (OSError, raw_sender.Refused) as error:
            if node.process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit(f"{error}\n{node.log.read_text()[-2000:]}") from error
            time.sleep(0.02)
    answers = time.perf_counter() - began
    cpu = intake_rates.cpu_seconds(intake_rates.Peer("node", node.port, "", node.process))
    node.until_ready()
    return answers, cpu, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dictamen-start-") as folder:
        node = NodeUnderTest(Path(folder), changes={"intake": {"accept_from": "anyone"}})
        for turn in range(args.starts):
            answers, cpu, ready = start(node)
            node.stop()
            print(
                f"{'again' if turn else 'fresh'}: C-ECHO after {answers:.2f} s "
                f"(CPU {cpu:.2f} s), ready after {ready:.2f} s, "
                f"load average {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
