"""Bytes that nobody would send, at both doors: they stay up and never say yes for nothing.

  python tests/benchmarks/intake_fuzz.py [--minutes 30] [--stock]

Hypothesis changes associations, PDUs, commands and data sets. After each, whatever was answered
0000 is on disk with its row and the very bytes that were sent; the intake lives, has logged no
traceback, and serves C-ECHO. `mllp_fuzz` does the same to messages and frames of the other door.
A failure is printed with the bytes that caused it, smallest first.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import inbox_lab
import intake_lab as lab
import mllp_fuzz
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

REQUEST = lab.associate_rq()
edits = st.lists(
    st.tuples(
        st.sampled_from(("set", "cut", "double", "insert", "swap")),
        st.integers(0, 2**16),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=4,
)


def changed(raw: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """`raw` after a few small accidents."""
    for kind, at, data in changes:
        at %= len(raw) + 1
        if kind == "set":
            raw = raw[:at] + data + raw[at + len(data) :]
        elif kind == "cut":
            raw = raw[:at] + raw[at + len(data) * 8 :]
        elif kind == "double":
            raw = raw[: at + len(data) * 8] + raw[at:]
        elif kind == "insert":
            raw = raw[:at] + data + raw[at:]
        else:
            raw = raw[at:] + raw[:at]
    return raw


def exchange(node: lab.Node, *pieces: bytes) -> list[int]:
    """Statuses that come back; the peer leaves without a word."""
    got: list[bytes] = []
    with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
        peer.settimeout(0.5)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                peer.sendall(piece)
                got.append(lab.pdu(peer))
        except (TimeoutError, ConnectionError):
            pass
    return lab.statuses(got)


class Fuzz:
    """One intake under attack."""

    def __init__(self, node: lab.Node) -> None:
        self.node, self.examples = node, 0

    def wire(
        self, request: list[tuple[str, int, bytes]], rest: list[tuple[str, int, bytes]]
    ) -> None:
        """An association and a message, each with its accidents: nothing may stop the intake."""
        made = lab.data_set(SOPInstanceUID=generate_uid())
        command = lab.store_rq(lab.CT, made.SOPInstanceUID)
        message = lab.p_data(1, b"\3" + command) + lab.p_data(1, b"\2" + lab.encoded(made))
        exchange(self.node, changed(REQUEST, request), changed(message, rest))
        self.check()

    def data(self, changes: list[tuple[str, int, bytes]], syntax: str) -> None:
        """A data set with accidents: stored as it is, or refused."""
        made = lab.data_set(SOPInstanceUID=generate_uid())
        uid, raw = str(made.SOPInstanceUID), changed(lab.encoded(made), changes)
        request = lab.associate_rq(contexts=[(1, lab.CT, (syntax,))])
        command = lab.p_data(1, b"\3" + lab.store_rq(lab.CT, uid))
        statuses = exchange(self.node, request, command + lab.p_data(1, b"\2" + raw))
        if 0x0000 in statuses:
            kept = [
                row
                for study in self.node.storage.studies.list(limit=5)
                for row in self.node.storage.studies.instances(study.uid)
                if row.sop_uid == uid
            ]
            found = kept or self._anywhere(uid)
            assert found, f"0000 for {uid}, which is nowhere"
            assert lab.bytes_of(self.node.storage.spool.path(found[0].path)) == raw
        self.check()

    def check(self) -> None:
        """The intake lives and serves the next one."""
        self.examples += 1
        assert self.node.process.poll() is None
        if self.examples % 20 == 0:
            assert lab.statuses(lab.exchange(self.node, REQUEST, lab.ECHO + lab.RELEASE)) == [0]
            assert "Traceback" not in self.node.log
        wrong = [line for line in self.node.log.splitlines() if '"frames"' in line]
        assert wrong == []

    def _anywhere(self, uid: str) -> list[lab.Any]:
        listed = self.node.storage.studies.list(limit=100_000)
        rows = (row for study in listed for row in self.node.storage.studies.instances(study.uid))
        return [row for row in rows if row.sop_uid == uid]


SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)


def run(
    fuzz: Fuzz, examples: int, seconds: float = float("inf"), door: mllp_fuzz.Fuzz | None = None
) -> None:
    """So many examples of each kind, or until the time is up. Raises AssertionError."""
    until = time.monotonic() + seconds
    how = settings(
        max_examples=examples, deadline=None, database=None, derandomize=seconds == float("inf"),
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    wire = how(given(request=edits, rest=edits)(lambda request, rest: fuzz.wire(request, rest)))
    data = how(
        given(changes=edits, syntax=st.sampled_from(SYNTAXES))(
            lambda changes, syntax: fuzz.data(changes, syntax)
        )
    )
    while True:
        wire()
        data()
        if door is not None:
            mllp_fuzz.attack(door, edits, changed, how)
        if seconds == float("inf") or time.monotonic() > until:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--stock", action="store_true", help="pynetdicom's own path")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="dictamen-fuzz-") as folder:
        limits = {"handshake": "1s", "idle": "2s", "per_address": 200}
        patch = lab.STOCK if args.stock else ""
        with lab.running(Path(folder), limits=limits, patch=patch, on_conflict="keep_both") as node:
            inbox = Path(folder) / "inbox"
            inbox.mkdir()
            with inbox_lab.open_door(inbox) as open_door:
                fuzz, door = Fuzz(node), mllp_fuzz.Fuzz(open_door)
                run(fuzz, 200, args.minutes * 60, door)
            print(
                f"{fuzz.examples} examples of PDUs and data sets, {door.examples} of messages in "
                f"{args.minutes:g} minutes, none failed; load {os.getloadavg()[0]:.1f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
