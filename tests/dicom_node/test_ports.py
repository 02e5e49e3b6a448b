"""Where a node may listen, at a start and at a reload, when its own port is no other program's."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dicom_node import ports


@pytest.fixture(name="taken")
def taken_fixture() -> Iterator[int]:
    """A port of 127.0.0.1 at which somebody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "running", "why"),
    [
        pytest.param("127.0.0.1:{0}", "", "in use", id="another program's"),
        pytest.param("127.0.0.1:{0}", "127.0.0.1:1", "in use", id="another program's at a reload"),
        pytest.param("127.0.0.1:{0}", "127.0.0.1:{0}", "", id="ours, unchanged"),
        pytest.param("0.0.0.0:{0}", "127.0.0.1:{0}", "", id="ours, on more addresses from now on"),
        pytest.param("127.0.0.1:{0}", "0.0.0.0:{0}", "", id="ours, on this address alone"),
        pytest.param("203.0.113.9:{0}", "127.0.0.1:{0}", "Cannot assign", id="not our address"),
    ],
)
def test_whose_port_it_is(taken: int, address: str, running: str, why: str) -> None:
    said = ports.why_taken(address.format(taken), running.format(taken))
    assert why in said
    assert bool(why) == bool(said)


@pytest.mark.parametrize(
    ("why", "way_out"),
    [
        pytest.param("Address already in use", "End the other program", id="in use"),
        pytest.param("Permission denied", "CAP_NET_BIND_SERVICE", id="a port below 1024"),
        pytest.param("Cannot assign requested address", "0.0.0.0", id="another machine's address"),
        pytest.param("Name or service not known", "0.0.0.0", id="no name at all"),
    ],
)
def test_what_to_do_where_nobody_can_listen(why: str, way_out: str) -> None:
    assert way_out in ports.way_out(why)
