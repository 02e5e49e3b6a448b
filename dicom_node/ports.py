"""Addresses to listen on, IPv4 and IPv6: `host:port`, `[::]:port`."""

from __future__ import annotations

import socket


def split(address: str) -> tuple[socket.AddressFamily, str, int]:
    """Family, host and port of an address of node.yaml."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, host.strip("[]"), int(port)


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
