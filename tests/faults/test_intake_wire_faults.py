"""What comes over the wire that no peer should send; on the fast path and on pynetdicom's own."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import intake_lab as lab
import pytest

REQUEST = lab.associate_rq()
CLOSED, OPEN = b"", b"open"
HALF = lab.p_data(1, b"\3" + lab.store_rq(lab.CT, "1.2.3")) + lab.p_data(1, b"\0" + bytes(4000))


@pytest.fixture(scope="module", params=["fast", "stock"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[lab.Node]:
    limits = {"handshake": "1s", "idle": "2s", "per_address": 150, "associations": 150}
    patch = lab.STOCK if request.param == "stock" else ""
    with lab.running(tmp_path_factory.mktemp("wire"), limits=limits, patch=patch) as found:
        assert not patch or lab.eventually(lambda: found.events("intake.stock_path"))
        yield found
        assert not re.search("Traceback", found.log)


def _last(answers: list[bytes]) -> bytes:
    return answers[-1] if answers else CLOSED


def _ends(node: lab.Node, *pieces: bytes, only_abort: bool = False) -> None:
    """The node aborts or hangs up, keeps nothing, and serves the next one."""
    last = _last(lab.exchange(node, *pieces))
    assert last != OPEN
    assert not only_abort or last[:1] == b"\7", last
    _clean(node)


def _clean(node: lab.Node) -> None:
    assert lab.eventually(lambda: node.storage.spool.temporary() == [])
    with lab.associated(node) as assoc:
        assert assoc.send_c_echo().Status == 0x0000


def _memory(node: lab.Node) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{node.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def _flood(node: lab.Node, pieces: list[bytes], piece: bytes, megabytes: int) -> int:
    """Send `piece` again and again until the node hangs up; how many bytes it took."""
    sent = 0
    with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
        peer.settimeout(10)
        try:
            for one in pieces:
                peer.sendall(one)
            lab.pdu(peer)
            while sent < megabytes << 20:
                peer.sendall(piece)
                sent += len(piece)
        except (ConnectionError, TimeoutError):
            pass
    return sent


# ---- before an association ------------------------------------------------------------------
def test_wire_tcp_check(node: lab.Node) -> None:
    before = len(node.log)
    for _ in range(20):
        socket.create_connection(("127.0.0.1", node.port), 5).close()
    time.sleep(0.3)
    assert "connection.refused" not in node.log[before:]
    _clean(node)


def test_wire_slowloris_50(node: lab.Node) -> None:
    _others_are_served(node, 50)


def test_wire_slowloris_200(node: lab.Node) -> None:
    _others_are_served(node, 200)


def _others_are_served(node: lab.Node, count: int) -> None:
    """Beside so many silent sockets, which cost no thread, little memory, and leave in time."""
    before = _memory(node), len(list(Path(f"/proc/{node.pid}/task").iterdir()))
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", node.port), 5))
            for _ in range(count)
        ]
        begun = time.monotonic()
        with lab.associated(node) as assoc:
            assert assoc.send_c_echo().Status == 0x0000
        assert time.monotonic() - begun < 3
        assert _memory(node) - before[0] < 20 << 20
        assert len(list(Path(f"/proc/{node.pid}/task").iterdir())) < before[1] + 10
        silent[-1].settimeout(5)
        assert silent[-1].recv(1) == b""


def test_wire_half_rq(node: lab.Node) -> None:
    _ends(node, REQUEST[:60])


def test_wire_trickle(node: lab.Node) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
        peer.settimeout(0.2)
        for at in range(40):
            try:
                peer.sendall(REQUEST[at : at + 1])
                if peer.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert time.monotonic() - begun < 4


def test_wire_unknown_pdu(node: lab.Node) -> None:
    _ends(node, b"\x99" + bytes(30), only_abort=True)
    assert lab.eventually(
        lambda: any("type 99H" in str(entry.details) for entry in node.audit("110113"))
    )


def test_wire_4gb_first(node: lab.Node) -> None:
    before = _memory(node)
    assert _flood(node, [b"\1\0\xff\xff\xff\xff"], bytes(1 << 20), 32) < 32 << 20
    assert _memory(node) - before < 32 << 20


def test_wire_data_first(node: lab.Node) -> None:
    _ends(node, HALF, only_abort=True)


def test_wire_tls_hello(node: lab.Node) -> None:
    _ends(node, b"\x16\x03\x01" + bytes(60), only_abort=True)
    assert "TLS on the plain port" in node.log


def test_wire_http_get(node: lab.Node) -> None:
    _ends(node, b"GET / HTTP/1.1\r\n\r\n", only_abort=True)


# ---- inside an association ------------------------------------------------------------------
def test_wire_half_pdata(node: lab.Node) -> None:
    _ends(node, REQUEST, HALF[:-100])


def test_wire_silent_association(node: lab.Node) -> None:
    begun = time.monotonic()
    _ends(node, REQUEST, b"")
    assert time.monotonic() - begun < 12


def test_wire_unknown_pdu_established(node: lab.Node) -> None:
    _ends(node, REQUEST, b"\x99\0\0\0\0\1\0", only_abort=True)


def test_wire_4gb_pdata(node: lab.Node) -> None:
    before = _memory(node)
    flood = _flood(node, [REQUEST, b"\4\0\xff\xff\xff\xff"], bytes(1 << 20), 32)
    assert flood < 32 << 20
    assert _memory(node) - before < 32 << 20


def _values(raw: bytes) -> bytes:
    """A P-DATA-TF with these bytes in place of its values."""
    return struct.pack(">BxL", 4, len(raw)) + raw


def test_wire_zero_pdu(node: lab.Node) -> None:
    _ends(node, REQUEST, _values(b""))


def test_wire_zero_pdv(node: lab.Node) -> None:
    _ends(node, REQUEST, _values(struct.pack(">LB", 0, 1)))


def test_wire_zero_pdv_without_its_control_header(node: lab.Node) -> None:
    _ends(node, REQUEST, _values(struct.pack(">LB", 1, 1)))


def test_wire_pdv_past_end(node: lab.Node) -> None:
    _ends(node, REQUEST, _values(struct.pack(">LBB", 999, 1, 3)))


def test_ds_unknown_context(node: lab.Node) -> None:
    _ends(node, REQUEST, _values(struct.pack(">LBB", 2, 99, 3)), only_abort=True)


def test_wire_empty_fragments(node: lab.Node) -> None:
    empty = lab.p_data(1, *[b"\0"] * 50) * 400
    _ends(node, REQUEST, lab.p_data(1, b"\3" + lab.store_rq(lab.CT, "1.2.3")) + empty)


def test_wire_unending_fragments(tmp_path: Path) -> None:
    begin = lab.p_data(1, b"\3" + lab.store_rq(lab.CT, "1.2.3"))
    piece = lab.p_data(1, b"\0" + bytes(100_000)) * 10
    with lab.running(tmp_path, limits={"instance": "16MiB"}) as node:
        before = _memory(node)
        assert _flood(node, [REQUEST, begin], piece, 64) < 32 << 20
        assert _memory(node) - before < 32 << 20
        _clean(node)


def test_wire_unending_command(node: lab.Node) -> None:
    before = _memory(node)
    _ends(node, REQUEST, lab.p_data(1, b"\1" + bytes(8000)) * 8, only_abort=True)
    _flood(node, [REQUEST], lab.p_data(1, b"\1" + bytes(8000)) * 20, 32)
    assert _memory(node) - before < 32 << 20


def test_wire_abort_mid_message(node: lab.Node) -> None:
    _leaves_a_trace(node, lab.ABORT)


def test_wire_close_mid_message(node: lab.Node) -> None:
    _leaves_a_trace(node, b"")


def _leaves_a_trace(node: lab.Node, end: bytes) -> None:
    """After half a data set and this end, or a TCP reset: one audit row, no file."""

    def told() -> int:
        return sum(entry.kind == "association.aborted" for entry in node.audit("110113"))

    before = told()
    with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
        peer.sendall(REQUEST)
        lab.pdu(peer)
        peer.sendall(HALF + end)
        if not end:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    _clean(node)
    assert lab.eventually(lambda: told() > before)


def test_wire_release_mid_message(node: lab.Node) -> None:
    _ends(node, REQUEST, HALF + lab.RELEASE, only_abort=True)


def test_wire_second_associate(node: lab.Node) -> None:
    _ends(node, REQUEST, REQUEST, only_abort=True)


def test_a_second_pdu_before_the_answer_to_the_first(node: lab.Node) -> None:
    """Found by the fuzzer: the library's state machine has no answer to some of these."""
    for extra in (b"\x30" + bytes(30), HALF, REQUEST, lab.RELEASE, lab.ABORT):
        assert _last(lab.exchange(node, REQUEST + extra, b"")) != OPEN
    _clean(node)


def test_wire_burst(node: lab.Node) -> None:
    def echo(_: int) -> list[int]:
        return lab.statuses(lab.exchange(node, REQUEST, lab.ECHO + lab.RELEASE))

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(echo, range(100))) == [[0x0000]] * 100


# ---- requests for an association ------------------------------------------------------------
def _asks(node: lab.Node, **options: object) -> bytes:
    return _last(lab.exchange(node, lab.associate_rq(**options), lab.RELEASE)[:1])  # type: ignore[arg-type]


def _results(answer: bytes) -> list[int]:
    assert answer[:1] == b"\2", answer
    return [
        answer[at + 6]
        for at in range(74, len(answer) - 6)
        if answer[at] == 0x21 and answer[at + 1] == 0 and answer[at + 4] % 2
        and answer[at + 8 : at + 9] == b"\x40"
    ]  # fmt: skip


def test_assoc_no_contexts(node: lab.Node) -> None:
    assert _asks(node, contexts=()) != OPEN
    _clean(node)


def test_assoc_128_contexts(node: lab.Node) -> None:
    many = [(n, lab.CT, lab.CONTEXTS[0][2]) for n in range(1, 256, 2)]
    assert _results(_asks(node, contexts=many)) == [0] * 128


def test_assoc_no_common_syntax(node: lab.Node) -> None:
    assert _results(_asks(node, contexts=[(1, lab.CT, ("1.2.3.4.5",))])) == [4]


def test_assoc_even_context_id(node: lab.Node) -> None:
    assert _asks(node, contexts=[(2, lab.CT, lab.CONTEXTS[0][2])])[:1] in (b"\3", b"\7", b"")
    _clean(node)


def test_assoc_version(node: lab.Node) -> None:
    answer = _asks(node, version=2)
    assert (answer[:1], tuple(answer[7:10])) == (b"\3", (1, 2, 2))


def test_assoc_app_context(node: lab.Node) -> None:
    answer = _asks(node, application=b"1.2.3.4")
    assert answer[:1] == b"\2" or tuple(answer[7:10]) == (1, 1, 2)


def test_assoc_tiny_pdu(node: lab.Node) -> None:
    _answers_keep_to(node, 128)


def test_assoc_zero_pdu(node: lab.Node) -> None:
    _answers_keep_to(node, 0)


def _answers_keep_to(node: lab.Node, longest: int) -> None:
    """Longest PDU that the peer takes, 0: any."""
    made = lab.data_set()
    store = lab.p_data(1, b"\3" + lab.store_rq(lab.CT, made.SOPInstanceUID))
    store += lab.p_data(1, b"\2" + lab.encoded(made))
    request = lab.associate_rq(longest=longest)
    answers = lab.exchange(node, request, lab.ECHO + store + lab.RELEASE)
    assert lab.statuses(answers) == [0x0000, 0x0000]
    assert all(len(raw) <= 6 + (longest or 1 << 20) for raw in answers[1:])


def test_assoc_truncated_items(node: lab.Node) -> None:
    at = REQUEST.index(b"\x20\0", 74)
    broken = REQUEST[: at + 2] + b"\x7f\xff" + REQUEST[at + 4 :]
    assert _asks_raw(node, broken)[:1] in (b"\3", b"\7", b"")
    _clean(node)


def _asks_raw(node: lab.Node, raw: bytes) -> bytes:
    return _last(lab.exchange(node, raw, wait=5))


# ---- messages -------------------------------------------------------------------------------
def _command(kind: int, *, message: int = 1, data_set: bool = False) -> bytes:
    pairs = [(2, lab.CT), (0x100, kind), (0x110, message), (0x800, 1 if data_set else 0x101)]
    return lab.p_data(1, b"\3" + lab.command(*pairs, (0x1000, "1.2.3")))


def _said(node: lab.Node, message: bytes) -> list[int]:
    found = lab.statuses(lab.exchange(node, REQUEST, message + lab.RELEASE))
    _clean(node)
    return found


def test_ds_c_find(node: lab.Node) -> None:
    identifier = lab.p_data(1, b"\2" + bytes(20))
    assert _said(node, _command(0x20, data_set=True) + identifier) == [0x0211]


def test_ds_n_event(node: lab.Node) -> None:
    assert _said(node, _command(0x100)) == [0x0211]


def test_ds_unknown_command(node: lab.Node) -> None:
    assert _said(node, _command(0x7777)) == [0x0211]


def test_ds_stray_cancel(node: lab.Node) -> None:
    assert _said(node, _command(0x0FFF) + lab.ECHO) == [0x0000]


def test_ds_stray_response(node: lab.Node) -> None:
    assert _said(node, _command(0x8001) + lab.ECHO) == [0x0000]


def _stored(node: lab.Node, cut: Callable[[bytes, bytes], bytes], count: int = 1) -> None:
    """Instances whose commands and data sets `cut` puts into PDUs, all sent at once."""
    made = [lab.data_set() for _ in range(count)]
    pairs = [(lab.store_rq(lab.CT, one.SOPInstanceUID), lab.encoded(one)) for one in made]
    sent = b"".join(cut(*pair) for pair in pairs)
    answers = lab.exchange(node, REQUEST, sent + lab.RELEASE)
    assert lab.statuses(answers) == [0x0000] * count
    kept = node.stored()
    assert all(lab.bytes_of(kept[one.SOPInstanceUID]) == lab.encoded(one) for one in made)


def test_ds_command_bytewise(node: lab.Node) -> None:
    def cut(command: bytes, raw: bytes) -> bytes:
        last = len(command) - 1
        bits = [bytes([1 | (n == last) << 1, one]) for n, one in enumerate(command)]
        parts = [raw[at : at + 100] for at in range(0, len(raw), 100)]
        data = [bytes([(n == len(parts) - 1) << 1]) + part for n, part in enumerate(parts)]
        return lab.p_data(1, *bits) + lab.p_data(1, *data)

    _stored(node, cut)


def test_ds_many_pdvs(node: lab.Node) -> None:
    _stored(node, lambda command, raw: lab.p_data(1, b"\3" + command, b"\2" + raw))


def test_ds_pipelined(node: lab.Node) -> None:
    def cut(command: bytes, raw: bytes) -> bytes:
        return lab.p_data(1, b"\3" + command) + lab.p_data(1, b"\2" + raw)

    _stored(node, cut, count=3)
