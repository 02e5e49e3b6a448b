"""The listener against raw sockets: what it answers, to whom, and what it does not wait for."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from inbox_lab import Door, answer, exchange, findings, framed, msa, open_door, oru

from dicom_node.inbox.events import EventName as E
from storage import MessageKind, MessageState, RunState


def settled(door: Door, event: str, seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while not door.events[event] and time.monotonic() < until:
        time.sleep(0.02)
    return bool(door.events[event])


def test_findings_are_durable_and_planned_when_AA_is_heard(tmp_path: Path) -> None:
    with open_door(tmp_path) as door, door.connect() as conn:
        heard = exchange(conn, framed(oru(control="C7")))
        (message,) = door.storage.inbox.list()
        (run,) = door.storage.runs.list()
        assert heard == "MSA|AA|C7"
        assert (message.kind, message.state) == (MessageKind.FINDINGS, MessageState.TAKEN)
        assert (message.run_id, run.processor, run.state) == (run.id, "impressions", RunState.READY)
        assert door.storage.spool.read(message.path) == oru(control="C7").encode()


def test_one_byte_at_a_time(tmp_path: Path) -> None:
    with open_door(tmp_path) as door, door.connect() as conn:
        for byte in framed(oru(control="SLOW")):
            conn.sendall(bytes([byte]))
        assert msa(answer(conn)) == "MSA|AA|SLOW"


def test_two_messages_in_one_packet_are_answered_in_order(tmp_path: Path) -> None:
    with open_door(tmp_path) as door, door.connect() as conn:
        conn.sendall(framed(oru(control="ONE")) + framed(oru(control="TWO")))
        assert [msa(answer(conn)), msa(answer(conn))] == ["MSA|AA|ONE", "MSA|AA|TWO"]


def test_the_same_message_again_is_AA_and_nothing_more(tmp_path: Path) -> None:
    once = oru(control="AGAIN")
    with open_door(tmp_path) as door:
        assert door.send(once, once, once) == ["AA", "AA", "AA"]
        (message,) = door.storage.inbox.list()
        assert message.repeats == 2
        assert list(door.storage.spool.listing("messages")) == [message.path]
        assert len(door.storage.runs.list()) == 1
        assert door.events[E.REPEATED] == 2


def test_the_same_control_id_with_other_bytes_replaces_nothing(tmp_path: Path) -> None:
    first = oru(control="SAME")
    second = oru(findings("Neumotórax izquierdo."), control="SAME")
    with open_door(tmp_path) as door:
        assert door.send(first, second) == ["AA", "AA"]
        kept = [door.storage.spool.read(m.path) for m in reversed(door.storage.inbox.list())]
        assert kept == [first.encode(), second.encode()]
        assert door.events[E.CONFLICT] == 1
        kinds = [record.entry.kind for record in door.storage.audit.list()]
        assert kinds.count("message.conflict") == 1


@pytest.mark.parametrize(
    ("data", "event"),
    [
        pytest.param(b"MSH|no frame at all" * 400, E.NO_FRAME, id="no VT"),
        pytest.param(b"\x0bMSH|half a message", E.LATE, id="no FS"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 300, E.NO_FRAME, id="HTTP"),
    ],
)
def test_what_is_no_frame_gets_no_answer_and_costs_a_connection(
    tmp_path: Path, data: bytes, event: E
) -> None:
    with open_door(tmp_path, limits={"receive": 0.4, "idle": 5.0}) as door, door.connect() as conn:
        conn.sendall(data)
        assert answer(conn) == ""
        assert settled(door, event)
        assert door.storage.inbox.list() == ()
        assert door.send(oru()) == ["AA"]  # the next one is served as if nothing had been


def test_a_message_that_the_next_one_cut_off_is_not_taken(tmp_path: Path) -> None:
    with open_door(tmp_path) as door, door.connect() as conn:
        cut = framed(oru(control="CUT"))[:80]
        conn.sendall(cut + framed(oru(control="WHOLE")))
        assert msa(answer(conn)) == "MSA|AA|WHOLE"
        assert [m.control_id for m in door.storage.inbox.list()] == ["WHOLE"]
        assert door.events[E.NO_FRAME] == 1


def test_an_endless_message_hears_AR_at_the_limit(tmp_path: Path) -> None:
    with open_door(tmp_path, limits={"message": 8192}) as door, door.connect() as conn:
        conn.sendall(b"\x0b" + oru(control="LONG").encode() + b"x" * 9000)
        heard = msa(answer(conn))
        assert heard.startswith("MSA|AR|LONG|")
        assert "longer" in heard
        assert answer(conn) == ""


def test_a_slow_sender_is_not_waited_for_longer_than_receive(tmp_path: Path) -> None:
    with open_door(tmp_path, limits={"receive": 0.5}) as door, door.connect() as conn:
        began = time.monotonic()
        with suppress(OSError):  # it hangs up in the middle
            for byte in framed(oru()):
                conn.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - began < 4
        assert settled(door, E.LATE)
        assert door.storage.inbox.list() == ()


def test_a_half_open_connection_is_given_up_after_idle(tmp_path: Path) -> None:
    with open_door(tmp_path, limits={"idle": 0.3}) as door, door.connect() as conn:
        began = time.monotonic()
        assert conn.recv(1) == b""
        assert time.monotonic() - began < 3


def test_a_peer_that_hangs_up_inside_a_message_leaves_nothing(tmp_path: Path) -> None:
    with open_door(tmp_path) as door:
        with door.connect() as conn:
            conn.sendall(framed(oru())[:60])
        assert settled(door, E.NO_FRAME)
        assert door.storage.inbox.list() == ()


@pytest.mark.parametrize("limit", ["connections", "per_address"])
def test_too_many_connections(tmp_path: Path, limit: str) -> None:
    with open_door(tmp_path, limits={limit: 2}) as door:
        held: list[socket.socket] = []
        try:
            for number in range(2):
                held.append(door.connect())
                assert exchange(held[-1], framed(oru(control=f"N{number}"))).startswith("MSA|AA")
            with door.connect() as third:
                assert third.recv(1) == b""
            assert settled(door, E.TURNED_AWAY)
        finally:
            for conn in held:
                conn.close()
        time.sleep(0.6)
        assert door.send(oru()) == ["AA"]


def test_a_stranger_hears_AR_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    with open_door(tmp_path, accept_from=("192.0.2.1",)) as door, door.connect() as conn:
        heard = exchange(conn, framed(oru(control="WHO")))
        assert heard.startswith("MSA|AR|WHO|")
        assert "accept_from" in heard
        assert answer(conn) == ""
        assert door.storage.inbox.list() == ()
        assert not list(door.storage.spool.listing("quarantine"))


def test_a_refused_message_goes_to_the_quarantine_with_its_reason(tmp_path: Path) -> None:
    refused = oru(("18748-4^Report^LN", "Texto sin apartados."), control="NOSEC")
    with open_door(tmp_path) as door:
        assert door.send(refused, refused) == ["AE", "AE"]
        files = sorted(door.storage.spool.listing("quarantine"))
        assert [Path(f).suffix for f in files] == [".hl7", ".json"]
        told = door.storage.spool.read(files[1]).decode()
        assert "no findings section" in told
        assert "Muñoz" not in told
        assert door.storage.spool.read(files[0]) == refused.encode()


def test_without_room_the_sender_hears_AE_and_keeps_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_door(tmp_path) as door:
        monkeypatch.setattr(type(door.storage.spool), "free_bytes", lambda _self: -1)
        assert door.send(oru(control="FULL")) == ["AE"]
        assert door.storage.inbox.list() == ()
        monkeypatch.undo()
        assert door.send(oru(control="FULL")) == ["AA"]


def test_an_answer_holds_nothing_of_the_patient(tmp_path: Path) -> None:
    with open_door(tmp_path) as door, door.connect() as conn:
        for message in (oru(), oru(status="X"), oru(patient="")):
            conn.sendall(framed(message))
            said = answer(conn)
            assert "Mu" not in said.replace("MSA", "")
            assert "P1" not in said
            assert "19700101" not in said
