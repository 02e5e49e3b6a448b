"""Addresses to listen on, IPv4 and IPv6: `host:port`, `[::]:port`."""

from __future__ import annotations

import errno
import os
import socket

_WAYS_OUT = {
    errno.EADDRINUSE: "End the other program, or choose another port.",
    errno.EACCES: "Choose a port above 1023, or give the service CAP_NET_BIND_SERVICE.",
}
_NOT_HERE = "Write an address of this machine; 0.0.0.0 is all that it has."


def split(address: str) -> tuple[socket.AddressFamily, str, int]:
    """Family, host and port of an address of node.yaml."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, host.strip("[]"), int(port)


def addresses(host: str) -> frozenset[str]:
    """The IP addresses of a host, IPv4 ones as such. Raises OSError if it does not resolve."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return frozenset(str(entry[4][0]).removeprefix("::ffff:") for entry in found)


def why_taken(address: str, running: str = "") -> str:
    """Why nobody can listen there now, in the system's words, or "".

    running: where we listen ourselves until we listen there; its port is ours to take.
    """
    if address == running:
        return ""
    family, host, port = split(address)
    if running and split(running)[2] == port:
        port = 0
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def way_out(why: str) -> str:
    """What to do where nobody can listen for that reason."""
    known = {os.strerror(number): way for number, way in _WAYS_OUT.items()}
    return known.get(why, _NOT_HERE)
