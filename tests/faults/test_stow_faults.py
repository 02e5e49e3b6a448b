"""The faults of the first door at the second: data sets, disks, kills, TLS, senders that stall."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import intake_lab as lab
import pytest
import stow_lab
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_node.admission import Asked
from dicom_node.intake.reception import file_meta


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[lab.Node, int]]:
    limits = {"head": "2s", "idle": "3s", "slowest": "64KiB", "body": "40MiB", "parts": 5}
    stow = {"limits": limits | {"connections": 8, "per_address": 8}}
    folder = tmp_path_factory.mktemp("stow")
    with stow_lab.running(folder, stow=stow, limits={"instance": "12MiB"}) as found:
        yield found


def _file(raw: bytes, sop_uid: str, *, sop_class: str = lab.CT, syntax: str = "") -> bytes:
    """Any bytes as the data set of a file under any UID."""
    explicit = "1.2.840.10008.1.2.1"
    return file_meta(Asked(sop_class, sop_uid, sop_class), syntax or explicit, "X") + raw


def _refused(door: tuple[lab.Node, int], file: bytes, reason: int, why: str) -> None:
    """Nothing is stored, the sender hears the reason, the audit says why and names the door."""
    node, port = door
    before = set(node.stored()), set(node.objects())
    answer = stow_lab.call(port, stow_lab.body_of(file))
    assert (answer.status, answer.stored()) == (409, [])
    assert [*answer.failed().values(), *answer.others()] == [reason]
    assert (set(node.stored()), set(node.objects())) == before
    assert node.storage.spool.temporary() == []
    assert lab.eventually(
        lambda: any(
            why in str(entry.details) and entry.details.get("called") == "STOW-RS"
            for entry in node.audit("110113")
        )
    )


# ---- data sets ------------------------------------------------------------------------------
def test_ds_uid_mismatch_by_web(door: tuple[lab.Node, int]) -> None:
    made, other = lab.data_set(), generate_uid()
    raw = lab.encoded(made)
    _refused(door, _file(raw, other), 0xA900, "SOP Instance UID of data set and command differ")
    node, _ = door
    names = [name for name in node.storage.spool.listing("quarantine") if name.endswith(".json")]
    cases = [json.loads(node.storage.spool.read(name)) for name in names]
    (case,) = [one for one in cases if one["sop_instance_uid"] == other]
    assert (case["status"], case["calling_ae_title"]) == ("0xA900", "GATEWAY")


def test_ds_class_mismatch_by_web(door: tuple[lab.Node, int]) -> None:
    made = lab.data_set(lab.DX)
    file = _file(lab.encoded(made), made.SOPInstanceUID)
    _refused(door, file, 0xA900, "SOP Class UID of data set and command differ")


def test_ds_class_not_context_by_web(door: tuple[lab.Node, int]) -> None:
    made = lab.data_set(lab.VERIFICATION)
    file = _file(lab.encoded(made), made.SOPInstanceUID, sop_class=lab.VERIFICATION)
    _refused(door, file, 0x0122, "no SOP class of instances")


@pytest.mark.parametrize("uid", ["../../../outside/x", "1.2.3/../4", "", "1.2\n.3"])
def test_ds_path_uid_by_web(uid: str, door: tuple[lab.Node, int]) -> None:
    _refused(door, _file(lab.encoded(lab.data_set()), uid), 0x0117, "no valid UID")
    assert not list(door[0].data.parent.rglob("outside"))


def test_a_study_uid_is_no_path_by_web(door: tuple[lab.Node, int]) -> None:
    _, port = door
    made = lab.data_set()
    for path in ("/studies/../../etc", "/studies/..%2f..%2fetc", "/studies/%00", "/studies/1.2%0a"):
        assert stow_lab.send(port, made, path=path).status in (400, 404)


def test_another_study_than_the_address_names(door: tuple[lab.Node, int]) -> None:
    node, port = door
    right, wrong = (lab.data_set(StudyInstanceUID=generate_uid()) for _ in range(2))
    answer = stow_lab.send(port, right, wrong, path=f"/studies/{right.StudyInstanceUID}")
    assert (answer.status, answer.stored()) == (202, [right.SOPInstanceUID])
    assert answer.failed() == {wrong.SOPInstanceUID: 0xA900}
    assert wrong.SOPInstanceUID not in node.stored()


def test_ds_duplicate_same_by_web(door: tuple[lab.Node, int]) -> None:
    """Also where it came by C-STORE before: the doors lead into one house."""
    node, port = door
    made = lab.data_set(StudyInstanceUID=generate_uid())
    assert lab.send(node, made) == [0x0000]
    for _ in range(2):
        assert stow_lab.send(port, made).stored() == [made.SOPInstanceUID]
    (row,) = node.storage.studies.instances(made.StudyInstanceUID)
    assert (row.repeats, row.calling_ae) == (2, "PACS")


@pytest.mark.parametrize(
    ("policy", "failed", "rows"),
    [("keep_first", [], 1), ("keep_both", [], 2), ("refuse", [0xA900], 1)],
)
def test_ds_duplicate_other_by_web(
    policy: str, failed: list[int], rows: int, tmp_path: Path
) -> None:
    first = lab.data_set(Manufacturer="one")
    second = lab.data_set(SOPInstanceUID=first.SOPInstanceUID, Manufacturer="two")
    with stow_lab.running(tmp_path, on_conflict=policy) as (node, port):
        answer = stow_lab.send(port, first, second)
        assert list(answer.failed().values()) == failed
        assert answer.status == (202 if failed else 200)
        assert len(node.storage.studies.instances(first.StudyInstanceUID)) == rows
        assert node.events("instance.conflict")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"", 0xC000, id="empty"),
        pytest.param(os.urandom(20_000), 0xC000, id="garbage"),
        pytest.param(lab.encoded(lab.data_set())[:-100], 0xC000, id="truncated"),
    ],
)
def test_ds_garbage_by_web(raw: bytes, reason: int, door: tuple[lab.Node, int]) -> None:
    _, port = door
    answer = stow_lab.call(port, stow_lab.body_of(_file(raw, "1.2.3.4.5")))
    assert (answer.status, answer.failed()) == (409, {"1.2.3.4.5": reason})


def test_ds_deep_nesting_by_web(door: tuple[lab.Node, int]) -> None:
    _, port = door
    begin, item = b"\x40\0\x30\xa7SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    raw = lab.encoded(lab.data_set(SOPInstanceUID="1.2.9.9"))
    answer = stow_lab.call(port, stow_lab.body_of(_file(raw + (begin + item) * 2000, "1.2.9.9")))
    assert answer.status in (200, 409)


def test_a_file_that_is_none_and_one_that_is(door: tuple[lab.Node, int]) -> None:
    _, port = door
    made = lab.data_set()
    body = stow_lab.body_of(b"GIF89a", stow_lab.file_of(made), lab.encoded(made))
    answer = stow_lab.call(port, body)
    assert (answer.status, answer.stored()) == (202, [made.SOPInstanceUID])
    assert answer.others() == [0xC000, 0xC000]


def test_parts_of_another_kind_are_not_taken(door: tuple[lab.Node, int]) -> None:
    _, port = door
    body = stow_lab.body_of(stow_lab.file_of(lab.data_set()), kind="application/dicom+json")
    assert stow_lab.call(port, body).others() == [0xC000]


# ---- limits ---------------------------------------------------------------------------------
def test_what_is_longer_than_a_limit_is_refused(door: tuple[lab.Node, int]) -> None:
    node, port = door
    answer = stow_lab.send(port, lab.sized(13))
    assert list(answer.failed().values()) == [0x0110]  # one instance, limits.instance
    answer = stow_lab.call(port, stow_lab.body_of(bytes(41 << 20)))
    assert answer.status == 413  # all of it, as announced
    chunks = iter([stow_lab.body_of(bytes(41 << 20))])
    assert stow_lab.call(port, chunks, Transfer_Encoding="chunked").status == 413  # as it came
    made = [lab.data_set() for _ in range(6)]
    answer = stow_lab.send(port, *made)  # parts
    assert (answer.status, len(answer.stored())) == (202, 5)
    assert node.storage.spool.temporary() == []


def _rss(pid: int) -> int:
    """Bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def _web(node: lab.Node) -> int:
    """The process id of the door."""
    return int(node.events("receiver.started")[-1]["pid"])


def test_memory_does_not_grow_with_the_instance(tmp_path: Path) -> None:
    with stow_lab.running(tmp_path) as (node, port):
        stow_lab.send(port, lab.sized(1))
        before = _rss(_web(node))
        made = lab.sized(120)
        assert stow_lab.send(port, made).stored() == [made.SOPInstanceUID]
        assert _rss(_web(node)) - before < 24 << 20


def _strangers(node: lab.Node) -> list[str]:
    """The addresses of those who were no known sender."""
    alerts = [entry for entry in node.audit("110113") if entry.kind == "110126"]
    return [str(entry.details["address"]) for entry in alerts]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Authorization": ""}, id="none"),
        pytest.param({"Authorization": "Bearer " + "x" * 30}, id="unknown"),
        pytest.param({"Authorization": "Basic R0FURVdBWTp4"}, id="another-scheme"),
    ],
)
def test_nobody_sends_without_a_token(headers: dict[str, str], door: tuple[lab.Node, int]) -> None:
    node, port = door
    made = lab.data_set()
    answer = stow_lab.send(port, made, **headers)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert made.SOPInstanceUID not in node.stored()
    assert lab.eventually(lambda: "127.0.0.1" in _strangers(node)), "told behind the answer"
    assert "x" * 30 not in node.log


# ---- senders that stall ---------------------------------------------------------------------
def _opened(port: int, *pieces: bytes) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), 10)
    for piece in pieces:
        peer.sendall(piece)
    return peer


_HEAD = (
    f"POST /studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stow_lab.TOKEN}\r\n"
    f"Content-Type: {stow_lab.KIND}\r\n"
).encode()


def test_wire_slowloris_by_web(door: tuple[lab.Node, int]) -> None:
    """Silent sockets and half heads are closed in time; one more sender is told to come again."""
    _, port = door
    began = time.monotonic()
    peers = [_opened(port), *(_opened(port, _HEAD) for _ in range(7))]
    assert stow_lab.send(port, lab.data_set()).status == 503  # all eight places are taken
    for peer in peers:
        peer.settimeout(10)
        assert peer.recv(100) == b""
        peer.close()
    assert 1.5 < time.monotonic() - began < 8
    assert stow_lab.send(port, lab.data_set()).status == 200


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_wire_trickle_by_web(drip: bool, door: tuple[lab.Node, int]) -> None:
    node, port = door
    peer = _opened(port, _HEAD, b"Content-Length: 100000\r\n\r\n--part-of-the-tests\r\n\r\nx")
    peer.settimeout(1.0)
    got, until = b"", time.monotonic() + 20
    while not got and time.monotonic() < until:
        try:
            if drip:
                peer.sendall(b"x")
            got = peer.recv(100)
        except TimeoutError:
            continue
    peer.close()
    assert got.startswith(b"HTTP/1.1 408")
    assert node.storage.spool.temporary() == []


def test_wire_close_mid_message_by_web(door: tuple[lab.Node, int]) -> None:
    """What was whole is kept (nobody was told so: it will come again), the rest is forgotten."""
    node, port = door
    one, other = lab.data_set(), lab.sized(5)
    body = stow_lab.body_of(stow_lab.file_of(one), stow_lab.file_of(other))[: 3 << 20]
    peer = _opened(port, _HEAD, f"Content-Length: {6 << 20}\r\n\r\n".encode(), body)
    peer.close()
    assert lab.eventually(lambda: one.SOPInstanceUID in node.stored())
    assert other.SOPInstanceUID not in node.stored()
    assert lab.eventually(lambda: node.storage.spool.temporary() == [])
    assert "Traceback" not in node.log


def test_nonsense_is_answered_or_closed(door: tuple[lab.Node, int]) -> None:
    _, port = door
    for noise in (b"\x16\x03\x01\x02\0\x01", lab.associate_rq(), b"\0\r\n\r\n"):
        peer = _opened(port, noise)
        peer.settimeout(10)
        assert peer.recv(100)[:12] in (b"", b"HTTP/1.1 400")
        peer.close()
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (1 << 17)
    with _opened(port, head) as peer:  # a head without end
        peer.settimeout(10)
        assert peer.recv(100)[:12] in (b"", b"HTTP/1.1 400")
    assert stow_lab.send(port, lab.data_set()).status == 200


def test_who_waits_for_our_word_sends_nothing_in_vain(door: tuple[lab.Node, int]) -> None:
    """Expect: 100-continue (RFC 9110 10.1.1)."""
    _, port = door
    head = _HEAD.replace(stow_lab.TOKEN.encode(), b"x" * 30)
    with _opened(port, head, b"Expect: 100-continue\r\nContent-Length: 999\r\n\r\n") as peer:
        assert peer.recv(100).startswith(b"HTTP/1.1 401")


# ---- disks, kills ---------------------------------------------------------------------------
def test_assoc_disk_low_by_web(tmp_path: Path) -> None:
    with stow_lab.running(tmp_path, disk_reserve="1000TiB") as (node, port):
        answer = stow_lab.send(port, lab.data_set())
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        assert stow_lab.call(port, method="GET", path="/healthz").status == 200
        assert node.stored() == {}


def test_disk_full_by_web(tmp_path: Path) -> None:
    """The disk fills up while an instance streams in."""
    with lab.small_disk(tmp_path, 40) as mounted:
        if not mounted:
            pytest.skip("this system lets us not mount a disk")
        with stow_lab.running(tmp_path) as (node, port):
            log = node.data / "spool" / "arrivals"
            assert lab.eventually(lambda: len(list(log.glob("*.log"))) == 8)
            answer = stow_lab.send(port, lab.sized(60))
            assert (answer.status, answer.headers["retry-after"]) == (503, "10")
            assert node.storage.spool.temporary() == []
            made = lab.data_set()
            assert lab.eventually(lambda: stow_lab.send(port, made).status == 200, 20)
            assert node.stored().keys() == {made.SOPInstanceUID}


def test_kill_intake_by_web(tmp_path: Path) -> None:
    """SIGKILL of the door and of the whole intake while senders go on: nothing answered is lost."""
    answered: dict[str, bytes] = {}
    over, lock = threading.Event(), threading.Lock()

    def keep_sending(port: int) -> None:
        while not over.is_set():
            made: list[Dataset] = [lab.data_set(), lab.sized(0.5), lab.sized(1.5)]
            try:
                heard = stow_lab.send(port, *made).stored()
            except (OSError, ValueError):  # killed meanwhile
                time.sleep(0.05)
                continue
            except Exception:  # http.client's: an answer cut short
                continue
            with lock:
                answered.update({o.SOPInstanceUID: lab.encoded(o) for o in made
                                 if o.SOPInstanceUID in heard})  # fmt: skip

    settings = None
    with stow_lab.running(tmp_path) as (node, port):
        settings = node.settings
        threads = [lab.in_background(keep_sending, port) for _ in range(3)]
        for kill in range(6):
            goal = len(answered) + 12
            assert lab.eventually(lambda goal=goal: len(answered) >= goal, 60)
            if kill % 3 == 2:
                node.kill()
                node = lab.launch(settings, tmp_path)
            else:
                os.kill(_web(node), signal.SIGKILL)
            assert lab.eventually(lambda: stow_lab_alive(port), 60)
        over.set()
        for thread in threads:
            thread.join(60)
        stored = node.stored()
        assert set(answered) <= set(stored)
        assert all(lab.bytes_of(stored[uid]) == raw for uid, raw in answered.items())
        node.stop()


def stow_lab_alive(port: int) -> bool:
    try:
        return stow_lab.call(port, method="GET", path="/healthz").status == 200
    except (OSError, ValueError):
        return False


# ---- TLS ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[lab.Node, int, Path]]:
    """A door with certificates on both sides; its folder holds them."""
    folder = tmp_path_factory.mktemp("secure")
    ours, theirs = stow_lab.authority(folder, "ours"), stow_lab.authority(folder, "theirs")
    stow_lab.authority(folder, "another")
    certificate, key = stow_lab.certificate(folder, "node", ours)
    stow_lab.certificate(folder, "CT-ROOM-2", theirs)
    stow = {
        "certificate": str(certificate), "key_file": str(key), "trusted": str(theirs),
        "token_file": None, "limits": {"head": "3s"},
    }  # fmt: skip
    with stow_lab.running(folder, stow=stow) as (node, port):
        yield node, port, folder


def _pair(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.crt", folder / f"{name}.key"


def test_a_certificate_is_a_name(secure: tuple[lab.Node, int, Path]) -> None:
    node, port, folder = secure
    made = lab.data_set(StudyInstanceUID=generate_uid())
    tls = stow_lab.trusting(folder / "ours.pem", _pair(folder, "CT-ROOM-2"))
    assert stow_lab.send(port, made, tls=tls, Authorization="").status == 200
    (row,) = node.storage.studies.instances(made.StudyInstanceUID)
    assert row.calling_ae == "CT-ROOM-2"

    def sent() -> list[object]:
        told = [str(entry.details.get("association")) for entry in node.audit("110104")]
        return [one for one in told if "CT-ROOM-2" in one]

    assert lab.eventually(sent)  # the account is closed behind the row


def _turned_away(secure: tuple[lab.Node, int, Path], tls: ssl.SSLContext, why: str) -> None:
    node, port, _ = secure
    with pytest.raises((OSError, ssl.SSLError)):
        stow_lab.send(port, lab.data_set(), tls=tls, Authorization="")
    assert lab.eventually(
        lambda: any(
            why in entry.details["why"] and entry.details["address"] == "127.0.0.1"
            for entry in node.audit("110113")
        )
    ), [entry.details for entry in node.audit("110113")]


def test_tls_no_cert_by_web(secure: tuple[lab.Node, int, Path]) -> None:
    _turned_away(secure, stow_lab.trusting(secure[2] / "ours.pem"), "CERTIFICATE")


def test_tls_wrong_ca_by_web(secure: tuple[lab.Node, int, Path]) -> None:
    folder = secure[2]
    for name, by, days in (("stranger", "another", 2), ("former", "theirs", -1)):
        pair = stow_lab.certificate(folder, name, folder / f"{by}.pem", days=days)
        why = "expired" if days < 0 else "issuer"
        _turned_away(secure, stow_lab.trusting(folder / "ours.pem", pair), why)


def test_tls_old_by_web(secure: tuple[lab.Node, int, Path]) -> None:
    _, port, folder = secure
    for options in (["-tls1_1"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]):
        with pytest.raises(Exception):  # noqa: B017  what openssl says of it differs
            stow_lab._openssl("s_client", "-connect", f"127.0.0.1:{port}", *options, "-CAfile",
                              folder / "ours.pem")  # fmt: skip


def test_tls_silent_by_web(secure: tuple[lab.Node, int, Path]) -> None:
    _, port, folder = secure
    silent = [_opened(port) for _ in range(6)]
    tls = stow_lab.trusting(folder / "ours.pem", _pair(folder, "CT-ROOM-2"))
    began = time.monotonic()
    assert stow_lab.send(port, lab.data_set(), tls=tls, Authorization="").status == 200
    assert time.monotonic() - began < 3
    for peer in silent:
        peer.settimeout(10)
        assert peer.recv(100) == b""
        peer.close()


# ---- logs -----------------------------------------------------------------------------------
def test_phi_in_logs_by_web(tmp_path: Path) -> None:
    name, patient, born = lab.PLANTED
    made = lab.data_set(PatientName=name, PatientID=patient, PatientBirthDate=born)
    file = stow_lab.file_of(made)
    with stow_lab.running(tmp_path) as (node, port):
        stow_lab.call(port, stow_lab.body_of(file))
        stow_lab.call(port, stow_lab.body_of(file[:-100]))
        stow_lab.call(port, stow_lab.body_of(file)[:-40])
        stow_lab.call(port, file)
        stow_lab.call(port, stow_lab.body_of(file, kind=name))
        stow_lab.send(port, made, path=f"/studies/{patient}")
        log = node.log
    assert not [planted for planted in lab.PLANTED if planted in log]
    assert stow_lab.TOKEN not in log


def test_log_injection_by_web(secure: tuple[lab.Node, int, Path]) -> None:
    """A certificate's name may hold what a terminal obeys."""
    node, port, folder = secure
    pair = stow_lab.certificate(folder, "A\x1b[31mB", folder / "theirs.pem")
    tls = stow_lab.trusting(folder / "ours.pem", pair)
    made = lab.data_set(StudyInstanceUID=generate_uid())
    assert stow_lab.send(port, made, tls=tls, Authorization="").status == 200
    (row,) = node.storage.studies.instances(made.StudyInstanceUID)
    assert row.calling_ae.isprintable()
    assert "\x1b" not in node.log
