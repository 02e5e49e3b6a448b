"""One finding on one film, every method's map side by side: for audits, studies and tests.

In: a Subject and the names of methods. Out: their maps in the network's grid. Never: a check, a
word on which of them is right.
"""

from __future__ import annotations

from collections.abc import Iterable

from processors.explain import METHODS
from processors.explain.subject import Subject
from processors.vae.latent import Array


def maps(subject: Subject, methods: Iterable[str]) -> dict[str, Array]:
    """Name -> map (size, size), larger where more speaks for the finding; in the given order.

    traversal, gradcam: never negative; the others signed. KeyError of an unknown name, ImportError
    where the extra `explain` is not installed. Same subject, same maps.
    """
    return {name: METHODS[name].map_of(subject) for name in methods}
