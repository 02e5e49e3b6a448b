"""The TLS port: a silent peer costs nobody anything, who cannot say who it is hears no DICOM."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import intake_lab as lab
import pytest
import raw_sender
from tls_lab import Pair, authority, signed

from dicom_node import supervisor


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Certificates by name; `other` is of an authority that the node does not trust."""
    folder = tmp_path_factory.mktemp("tls")
    ours, theirs = authority(folder, "site-ca"), authority(folder, "other-ca")
    return {
        "ca": ours,
        "node": signed(folder, "node.site", ours),
        "pacs": signed(folder, "pacs.site", ours),
        "ct": signed(folder, "ct.site", ours),
        "expired": signed(folder, "expired.site", ours, days=-1),
        "other": signed(folder, "other.site", theirs),
    }


Start = Callable[..., lab.Node]


@pytest.fixture
def start(tmp_path: Path, site: dict[str, Pair]) -> Iterator[Start]:
    with contextlib.ExitStack() as running:

        def begin(*, trusted: bool = True, **options: object) -> lab.Node:
            tls = {
                "listen": f"127.0.0.1:{lab.free_port()}",
                "certificate": str(site["node"].certificate),
                "key_file": str(site["node"].key),
                "trusted": str(site["ca"].certificate) if trusted else None,
            }
            return running.enter_context(lab.running(tmp_path, tls=tls, **options))

        yield begin


def port(node: lab.Node) -> int:
    assert node.settings.intake.tls is not None
    return int(node.settings.intake.tls.listen.rpartition(":")[2])


def client(site: dict[str, Pair], who: str | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(site["ca"].certificate))
    if who:
        made.load_cert_chain(site[who].certificate, site[who].key)
    return made


def asks(node: lab.Node, context: ssl.SSLContext) -> bytes:
    """What an A-ASSOCIATE-RQ over TLS is answered; nothing if there is no handshake."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port(node)), 10) as plain,
            context.wrap_socket(plain, server_hostname="node.site") as conn,
        ):
            conn.sendall(raw_sender.association_request("DICTAMEN", "PACS"))
            return conn.recv(10)
    except OSError:
        return b""


def alerts(node: lab.Node) -> list[dict[str, object]]:
    """What the audit tells of peers who were turned away."""
    rows = (row.entry for row in node.storage.audit.list())
    return [dict(row.details) for row in rows if row.event == "110113"]


def reasons(node: lab.Node) -> list[str]:
    return [str(one.get("why")) for one in alerts(node)]


@pytest.mark.parametrize("patch", ["", lab.STOCK], ids=["fast", "stock"])
@pytest.mark.parametrize("trusted", [True, False], ids=["certified", "anybody"])
def test_instances_arrive_over_tls(
    start: Start, site: dict[str, Pair], trusted: bool, patch: str
) -> None:
    node = start(trusted=trusted, patch=patch)
    small, large = lab.data_set(), lab.sized(4)
    context = client(site, "pacs" if trusted else None)
    with lab.associated(port(node), tls=(context, "node.site")) as assoc:
        assert assoc.is_established
        assert assoc.send_c_echo().Status == 0x0000
        assert [assoc.send_c_store(one).Status for one in (small, large)] == [0x0000, 0x0000]
    assert set(node.stored()) == {small.SOPInstanceUID, large.SOPInstanceUID}
    assert lab.send(node, lab.data_set()) == [0x0000]  # the plain port is there as before


@pytest.mark.system
def test_dcmtk_sends_over_tls(start: Start, site: dict[str, Pair], tmp_path: Path) -> None:
    if shutil.which("storescu") is None:
        pytest.skip("DCMTK is not installed")
    node, made = start(), lab.data_set()
    made.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    words = ["storescu", "+tls", site["pacs"].key, site["pacs"].certificate, "+cf",
             site["ca"].certificate, "-aet", "PACS", "-aec", "DICTAMEN", "127.0.0.1",
             port(node), tmp_path / "one.dcm"]  # fmt: skip
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(node.stored()) == {made.SOPInstanceUID}


def test_tls_silent(start: Start, site: dict[str, Pair]) -> None:
    """Neither those who say nothing nor those who stop half-way keep anybody waiting."""
    node, good = start(), client(site, "pacs")
    silent = [socket.create_connection(("127.0.0.1", port(node))) for _ in range(30)]
    half = [socket.create_connection(("127.0.0.1", port(node))) for _ in range(10)]
    for conn in half:
        conn.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # a ClientHello that does not go on
    begun = time.monotonic()
    assert asks(node, good)[:1] == b"\2"
    assert lab.send(node, lab.data_set()) == [0x0000]
    assert time.monotonic() - begun < 2.0
    for conn in (*silent, *half):  # limits.handshake, here 2 s
        conn.settimeout(6.0)
        with contextlib.suppress(ConnectionError):
            assert conn.recv(100) == b""
        conn.close()
    assert "no TLS handshake in time" in node.log
    assert "Traceback" not in node.log


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_no_cert(start: Start, site: dict[str, Pair], version: ssl.TLSVersion) -> None:
    node, context = start(), client(site, None)
    context.maximum_version = version
    assert asks(node, context) == b""
    why = "TLS without a client certificate"
    assert lab.eventually(lambda: why in reasons(node))
    assert [one["address"] for one in alerts(node)] == ["127.0.0.1"]
    assert asks(node, client(site, "pacs"))[:1] == b"\2"


@pytest.mark.parametrize(
    ("who", "why"),
    [
        pytest.param("other", "not trusted: unable to get local issuer", id="other authority"),
        pytest.param("expired", "not trusted: certificate has expired", id="expired"),
    ],
)
def test_tls_wrong_ca(start: Start, site: dict[str, Pair], who: str, why: str) -> None:
    node = start()
    assert asks(node, client(site, who)) == b""
    assert lab.eventually(lambda: any(why in one for one in reasons(node)))
    assert asks(node, client(site, "pacs"))[:1] == b"\2"


def test_tls_wrong_ca_or_certificate_of_another_ae(start: Start, site: dict[str, Pair]) -> None:
    """An AE title is bound to the name in its certificate; on the plain port it cannot show one."""
    bound = {"ae_title": "PACS", "host": "127.0.0.1", "certificate": "pacs.site"}
    node = start(accept_from=[bound])
    assert asks(node, client(site, "ct"))[:1] == b"\3"
    assert lab.rejection(node) == (1, 1, 3)
    why = "calling AE title comes without the certificate it is bound to"
    assert lab.eventually(lambda: reasons(node).count(why) >= 2)  # `rejection` may ask again
    assert asks(node, client(site, "pacs"))[:1] == b"\2"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param(["-tls1_1"], "TLS older than 1.2", id="1.1"),
        pytest.param(["-tls1"], "TLS older than 1.2", id="1.0"),
        pytest.param(
            ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"], "without a cipher of BCP 195",
            id="1.2 without forward secrecy",
        ),
    ],
)  # fmt: skip
def test_tls_old(start: Start, options: list[str], why: str) -> None:
    node = start(trusted=False)
    old = options if "-cipher" in options else [*options, "-cipher", "DEFAULT:@SECLEVEL=0"]
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port(node)}", *old]
    done = subprocess.run(words, capture_output=True, input=b"", timeout=20, check=False)
    assert done.returncode != 0
    assert lab.eventually(lambda: any(why in one for one in reasons(node)))


def test_plain_dicom_on_the_tls_port(start: Start) -> None:
    node = start()
    with socket.create_connection(("127.0.0.1", port(node)), 5) as conn:
        conn.sendall(raw_sender.association_request("DICTAMEN", "PACS"))
        with contextlib.suppress(ConnectionError):
            conn.recv(100)
    assert lab.eventually(lambda: "no TLS on the TLS port" in reasons(node))


def test_a_start_says_what_is_wrong_with_port_or_certificate(
    tmp_path: Path, site: dict[str, Pair]
) -> None:
    """Before anything runs: the port that another program has, the key of another certificate."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        tls = {
            "listen": listen,
            "certificate": str(site["node"].certificate),
            "key_file": str(site["pacs"].key),
        }
        settings = lab.settings_for(tmp_path, lab.free_port(), tls=tls)
        with pytest.raises(supervisor.StartError, match=f"intake.tls.listen: .* {listen}"):
            supervisor.check_tls_port(settings)
    with pytest.raises(supervisor.StartError, match="key values mismatch"):
        supervisor.check_tls_port(settings)
