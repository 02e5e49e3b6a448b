"""`dictamen check`: each thing a start would need, tried for real, and what is wrong in words."""

from __future__ import annotations

import errno
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from tls_lab import authority, signed

import storage
from config import Settings
from dicom_node import checks, rooms
from dicom_node.checks import CheckResult, _answers_as
from dicom_node.cli import node
from processors import ProcessorError

# pynetdicom leaves the socket of a refused connection to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
Make = Callable[..., Settings]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Good settings on free ports, with some parts said otherwise."""
    key = tmp_path / "audit.key"
    key.write_text("k" * 64)
    key.chmod(0o600)

    def made(**changes: Mapping[str, Any]) -> Settings:
        parts: dict[str, Any] = {
            "node": {
                "ae_title": "DICTAMEN",
                "audit_key_file": str(key),
                "listen": f"127.0.0.1:{free_port()}",
                "status": f"127.0.0.1:{free_port()}",
                "data_dir": str(tmp_path / "data"),
            },
            "intake": {
                "accept_from": [{"ae_title": "PACS", "host": "127.0.0.1"}],
                "disk_reserve": "1MiB",
            },
            "processors": [
                {"name": "chest", "bundle": "chest", "when": {}, "send_to": ["disk"]},
            ],
            "destinations": {"disk": {"kind": "folder", "path": str(tmp_path / "out")}},
        }
        for part, values in changes.items():
            parts[part] = {**parts.get(part, {}), **values}
        return Settings.model_validate_json(json.dumps(parts))

    return made


def run(settings: Settings, **bundles: checks.Verify) -> dict[str, CheckResult]:
    peers = {name: peer for name, (peer, _) in rooms.destinations(settings).items()}
    keyed = {f"processors.{name}": verify for name, verify in bundles.items()}
    return {result.name: result for result in checks.run(settings, peers, bundles=keyed)}


def fits() -> None:
    """A bundle whose files match."""


@contextmanager
def pacs(ae_title: str, **options: Any) -> Iterator[int]:
    """A real SCP that knows itself by that AE title and refuses every other."""
    node = AE(ae_title=ae_title)
    node.add_supported_context(Verification)
    node.require_called_aet = True
    for name, value in options.items():
        setattr(node, name, value)
    server = node.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, _ok)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


def _ok(_event: evt.Event) -> int:
    return 0


def to_pacs(port: int, ae_title: str = "PACS") -> dict[str, Any]:
    return {
        "kind": "dicom",
        "ae_title": ae_title,
        "host": "127.0.0.1",
        "port": port,
        "timeout": "5s",
    }


def test_all_is_well(make: Make) -> None:
    with pacs("PACS") as port:
        found = run(make(destinations={"pacs": to_pacs(port)}), chest=fits)
    assert {name: result.detail for name, result in found.items() if not result.ok} == {}
    assert list(found) == [
        "node.listen",
        "node.status",
        "node.data_dir",
        "node.audit_key_file",
        "node.database",
        "intake.accept_from",
        "intake.disk_reserve",
        "TZ",
        "processors.chest",
        "destinations.disk",
        "destinations.pacs",
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({}, "called AE title not recognised", id="wrong called AE title"),
        pytest.param(
            {"require_called_aet": False, "require_calling_aet": ["OTHER"]},
            "calling AE title not recognised",
            id="the PACS does not know us",
        ),
    ],
)
def test_a_wrong_ae_title_is_named(make: Make, options: dict[str, Any], reason: str) -> None:
    with pacs("REALPACS", **options) as port:
        found = run(make(destinations={"pacs": to_pacs(port, "WRONG")}))["destinations.pacs"]
    assert not found.ok
    assert f"AE title WRONG at 127.0.0.1:{port}" in found.detail
    assert "called by DICTAMEN" in found.detail
    assert reason in found.detail.lower().replace("ae title", "AE title")


def test_a_closed_port_is_named(make: Make) -> None:
    port = free_port()
    ris = {"kind": "mllp", "host": "127.0.0.1", "port": port, "application": "RIS", "facility": "H"}
    found = run(make(destinations={"ris": ris, "pacs": to_pacs(port)}))
    for name in ("destinations.ris", "destinations.pacs"):
        assert not found[name].ok
        assert f"127.0.0.1:{port}" in found[name].detail
        assert "refused" in found[name].detail.lower()


def test_peers_are_tried_at_the_same_time(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        port = silent.getsockname()[1]
        slow = {f"p{number}": to_pacs(port) | {"timeout": "2s"} for number in range(6)}
        begun = time.monotonic()
        found = run(make(destinations=slow))
        seconds = time.monotonic() - begun
    assert [found[f"destinations.{name}"].ok for name in slow] == [False] * 6
    assert seconds < 6


def test_a_destination_that_is_this_node(make: Make) -> None:
    settings = make()
    port = int(settings.node.listen.rpartition(":")[2])
    settings = make(
        node={"listen": settings.node.listen}, destinations={"pacs": to_pacs(port, "DICTAMEN")}
    )
    found = run(settings)["destinations.pacs"]
    assert "is this node itself" in found.detail


@pytest.mark.parametrize(
    ("second", "twice"),
    [
        pytest.param({}, True, id="the same receiver"),
        pytest.param({"give_up_after": "1d"}, True, id="the same, otherwise handled"),
        pytest.param({"application": "ARCHIVE"}, False, id="another one behind the same port"),
    ],
)
def test_two_names_of_one_receiver(make: Make, second: dict[str, str], twice: bool) -> None:
    ris = {"kind": "mllp", "host": "127.0.0.1", "port": 1, "application": "RIS", "facility": "H"}
    found = run(make(destinations={"ris": ris, "old-ris": ris | second}))
    assert ("is destination old-ris, too" in found["destinations.ris"].detail) is twice
    assert ("is destination ris, too" in found["destinations.old-ris"].detail) is twice


def test_a_taken_port(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        found = run(make(node={"status": address}))["node.status"]
    assert not found.ok
    assert found.detail == (
        f"cannot listen on {address}: Address already in use. "
        "End the other program, or choose another port."
    )


@pytest.mark.parametrize("key", ["listen", "status"])
def test_an_address_that_is_no_name_of_this_machine(make: Make, key: str) -> None:
    found = run(make(node={key: "nowhere.invalid:11112"}))[f"node.{key}"]
    assert (found.ok, "Write an address of this machine" in found.detail) == (False, True)


def test_a_listener_that_is_not_a_node(make: Make) -> None:
    with pacs("SOMEONE") as port:
        found = run(make(node={"listen": f"127.0.0.1:{port}"}))["node.listen"]
    assert (found.ok, "already in use" in found.detail) == (False, True)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="we may call ourselves"),
        pytest.param({"require_calling_aet": ["PACS"]}, id="only the PACS may call"),
    ],
)
def test_a_running_node_is_no_fault(make: Make, options: dict[str, Any]) -> None:
    with pacs("DICTAMEN", **options) as port:
        found = run(make(node={"listen": f"127.0.0.1:{port}"}))["node.listen"]
    assert found.ok
    assert "a running DICTAMEN" in found.detail


@pytest.mark.parametrize(
    ("content", "mode", "detail"),
    [
        pytest.param(None, 0, "No such file or directory. Restore it", id="absent"),
        pytest.param("short", 0o600, "holds 5 bytes; a key has at least 16", id="short"),
        pytest.param("k" * 64, 0o644, "is open to others (mode 0644)", id="open"),
    ],
)
def test_the_audit_key(
    make: Make, tmp_path: Path, content: str | None, mode: int, detail: str
) -> None:
    key = tmp_path / "other.key"
    if content is not None:
        key.write_text(content)
        key.chmod(mode)
    found = run(make(node={"audit_key_file": str(key)}))["node.audit_key_file"]
    assert (found.ok, detail in found.detail) == (False, True)


def test_a_folder_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = run(make(node={"data_dir": str(tmp_path / "file" / "data")}))
    assert not found["node.data_dir"].ok
    assert "Not a directory" in found["node.data_dir"].detail


def test_a_running_node_is_no_reason_to_complain(make: Make) -> None:
    """`docker exec … dictamen check` is how one looks at a node that runs."""
    settings = make()
    host, _, port = settings.node.status.rpartition(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        assert not run(settings)["node.status"].ok
        with pacs("DICTAMEN") as dicom:
            listens = make(node={"listen": f"127.0.0.1:{dicom}", "status": settings.node.status})
            found = run(listens)
    assert found["node.listen"].ok, found
    assert found["node.status"].ok, found
    assert "presumably by this node" in found["node.status"].detail


def test_a_running_node_whose_first_answer_is_lost(make: Make) -> None:
    """pynetdicom drops a rejection that it reads together with the end of the connection."""
    with socket.create_server(("127.0.0.1", 0)) as node:

        def answer() -> None:
            node.accept()[0].close()
            second, _ = node.accept()
            with second:
                second.recv(1 << 16)
                second.sendall(bytes.fromhex("030000000004 00010103"))
                second.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        settings = make(node={"listen": f"127.0.0.1:{node.getsockname()[1]}"})
        assert _answers_as("DICTAMEN", settings.node.listen)


def test_a_folder_that_may_not_be_entered_hides_no_other_check(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(checks.shutil, "disk_usage", closed)
    found = run(make())
    assert not found["intake.disk_reserve"].ok
    assert found["intake.disk_reserve"].detail.endswith("Permission denied")
    assert found["node.audit_key_file"].ok


def test_a_bundle_that_may_not_be_read_is_named_with_its_key(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dicom_node import wiring

    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/models/chest")

    monkeypatch.setattr(wiring.kinds, "build", closed)
    settings = make()
    with pytest.raises(ProcessorError) as caught:
        wiring.verify(settings, settings.processors[0])
    said = "processors.chest.bundle: /models/chest cannot be read: Permission denied."
    assert str(caught.value) == said


def test_checking_leaves_nothing_behind(make: Make, tmp_path: Path) -> None:
    run(make())
    assert list((tmp_path / "data").iterdir()) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_a_database_that_is_not_there(make: Make) -> None:
    url = f"postgresql+psycopg://dictamen:hunter2@127.0.0.1:{free_port()}/dictamen"
    found = run(make(node={"database": url}))["node.database"]
    assert not found.ok
    assert "127.0.0.1" in found.detail
    assert "hunter2" not in found.detail


def test_a_database_of_this_version(make: Make) -> None:
    settings = make()
    settings.node.data_dir.mkdir()
    storage.upgrade(settings.node.database_url)
    found = run(settings)["node.database"]
    assert (found.ok, found.detail) == (True, "connects, and its schema is current")


def test_a_database_of_a_newer_version_is_no_good(make: Make) -> None:
    """A start would not bring it back: it is not one that `serve` upgrades by itself."""
    settings = make()
    settings.node.data_dir.mkdir()
    storage.upgrade(settings.node.database_url)
    with sqlite3.connect(settings.node.data_dir / "dictamen.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    found = run(settings)["node.database"]
    assert (found.ok, "Install the newer dictamen" in found.detail) == (False, True)


def test_too_little_disk(make: Make) -> None:
    found = run(make(intake={"disk_reserve": "900TiB"}))["intake.disk_reserve"]
    assert not found.ok
    assert "900TiB kept in reserve: every instance would be refused" in found.detail


@pytest.mark.parametrize(
    ("senders", "ok", "detail"),
    [
        pytest.param("anyone", True, "anyone may send: list the PACS", id="anyone"),
        pytest.param([{"ae_title": "A", "host": "no.such.host.invalid"}], False,
                     "does not resolve: no.such.host.invalid (of A)", id="unknown host"),
        pytest.param([{"ae_title": "A"}], True, "A from any address", id="unbound"),
        pytest.param([{"ae_title": "A", "host": "127.0.0.9"}], True,
                     "no DICOM destination is among them", id="PACS elsewhere"),
    ],
)  # fmt: skip
def test_who_may_send(make: Make, senders: Any, ok: bool, detail: str) -> None:
    settings = make(intake={"accept_from": senders}, destinations={"pacs": to_pacs(free_port())})
    found = run(settings)["intake.accept_from"]
    assert (found.ok, detail in found.detail) == (ok, True), found.detail


def test_weights_that_do_not_fit(make: Make) -> None:
    def broken() -> None:
        raise ProcessorError("encoder.onnx differs from its recorded digest")

    found = run(make(), chest=broken)["processors.chest"]
    assert (found.ok, found.detail) == (False, "encoder.onnx differs from its recorded digest")


def test_a_corpus_that_is_not_there(make: Make, tmp_path: Path) -> None:
    asked = {"structured_reports": True, "corpus": str(tmp_path / "nowhere")}
    assert "impressions" not in node._models(
        make(impressions=asked | {"structured_reports": False})
    )
    with pytest.raises(ProcessorError, match=r"impressions: .*nowhere"):
        node._models(make(impressions=asked))["impressions"]()


def test_both_renderings(capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        CheckResult("node.listen", True, "free"),
        CheckResult("destinations.pacs", False, "the peer's \x1b[31mown words"),
    ]
    node._show(results, as_json=True)
    assert json.loads(capsys.readouterr().out)[1]["ok"] is False
    node._show(results, as_json=False)
    shown = capsys.readouterr().out
    assert "\x1b[31mown" not in shown
    assert "1 of 2 would go wrong" in shown


def test_an_explanation_that_cannot_run_is_found_before_the_start(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from processors.explain import method

    settings = make()
    (processor,) = settings.processors
    asked = processor.model_copy(update={"explain": ("traversal", "shap")})
    monkeypatch.setattr(method, "find_spec", lambda name: None)
    node._verify(settings, processor)()  # a strip needs nothing
    found = run(settings, chest=node._verify(settings, asked))["processors.chest"]
    assert not found.ok
    assert "dictamen[explain]" in found.detail


@pytest.mark.parametrize(
    ("senders", "ok", "detail"),
    [
        (["127.0.0.1"], True, "reports from 127.0.0.1"),
        ("anyone", True, "anyone may send reports"),
        (["no.such.host.invalid"], False, "does not resolve: no.such.host.invalid"),
    ],
)
def test_who_may_send_reports(make: Make, senders: Any, ok: bool, detail: str) -> None:
    mllp = {"listen": f"127.0.0.1:{free_port()}", "accept_from": senders}
    found = run(make(intake={"mllp": mllp}), chest=fits)
    assert (found["intake.mllp.accept_from"].ok, found["intake.mllp.listen"].ok) == (ok, True)
    assert detail in found["intake.mllp.accept_from"].detail


def test_a_taken_port_of_the_door_for_reports(make: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        found = run(make(intake={"mllp": {"listen": listen, "accept_from": "anyone"}}), chest=fits)
    assert not found["intake.mllp.listen"].ok
    assert listen in found["intake.mllp.listen"].detail


@pytest.mark.parametrize(
    ("certificate", "key", "trusted", "detail"),
    [
        pytest.param("node", "node", "ca", "is good until", id="good"),
        pytest.param("node", "node", None, "senders need none", id="no client certificates"),
        pytest.param("old", "old", "ca", "certificate has expired", id="expired"),
        pytest.param("soon", "soon", "ca", "renew it", id="ends soon"),
        pytest.param("node", "ca", "ca", "key values mismatch", id="another one's key"),
        pytest.param("gone", "node", "ca", "no such file", id="no such file"),
        pytest.param("node", "node", "gone", "intake.tls.trusted", id="no such authorities"),
    ],
)
def test_the_certificate_of_the_tls_port(
    make: Make, tmp_path: Path, certificate: str, key: str, trusted: str | None, detail: str
) -> None:
    ca = authority(tmp_path, "ca")
    for name, days in (("node", 60), ("soon", 5), ("old", -1)):
        signed(tmp_path, name, ca, days=days)
    tls = {
        "listen": f"127.0.0.1:{free_port()}",
        "certificate": str(tmp_path / f"{certificate}.pem"),
        "key_file": str(tmp_path / f"{key}.key"),
        "trusted": trusted and str(tmp_path / f"{trusted}.pem"),
    }
    found = run(make(intake={"tls": tls}), chest=fits)
    assert found["intake.tls.listen"].ok
    assert found["intake.tls.certificate"].ok is (detail in ("is good until", "senders need none"))
    assert detail in found["intake.tls.certificate"].detail


@pytest.mark.parametrize(
    ("certificate", "ok", "detail"),
    [
        pytest.param("node", True, "is good until", id="good"),
        pytest.param("soon", False, "renew it", id="ends soon"),
        pytest.param("gone", False, "intake.stow.certificate", id="no such file"),
    ],
)
def test_the_certificate_of_the_web_door(
    make: Make, tmp_path: Path, certificate: str, ok: bool, detail: str
) -> None:
    ca = authority(tmp_path, "ca")
    for name, days in (("node", 60), ("soon", 5)):
        signed(tmp_path, name, ca, days=days)
    stow = {
        "listen": f"127.0.0.1:{free_port()}",
        "certificate": str(tmp_path / f"{certificate}.pem"),
        "key_file": str(tmp_path / f"{certificate}.key"),
        "trusted": str(tmp_path / "ca.pem"),
    }
    found = run(make(intake={"stow": stow}), chest=fits)["intake.stow.certificate"]
    assert found.ok is ok
    assert detail in found.detail


def test_a_certificate_that_nobody_asks_for_is_a_mistake(make: Make) -> None:
    peer = {"ae_title": "PACS", "certificate": "pacs.site"}
    with pytest.raises(ValueError, match=r"set intake\.tls\.trusted, too"):
        make(intake={"accept_from": [peer]})
