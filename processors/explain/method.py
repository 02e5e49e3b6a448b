"""What a method of explanation is to its callers: two functions, what it needs, what it costs.

Never: a package loaded to find out whether it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from processors.analysis import Explanation, ProcessorError
from processors.explain.subject import Subject
from processors.vae.latent import Array


class MethodNotInstalled(ProcessorError):
    """A method of explanation whose packages are not there."""


@dataclass(frozen=True, slots=True)
class Method:
    """explain: of a subject, in a language. map_of: (size, size) in the network's grid, larger
    where more speaks for the finding. needs: packages of the extra `explain`. cost_ms: of `explain`
    on one core, roughly, for a chest film (128 px); measured by `dictamen models time --method`.
    """

    explain: Callable[[Subject, str], Explanation]
    map_of: Callable[[Subject], Array]
    needs: tuple[str, ...]
    cost_ms: int

    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.needs if find_spec(name) is None)


def require(methods: Mapping[str, Method], names: Iterable[str]) -> None:
    """Nothing, or MethodNotInstalled for the first of these methods that cannot run here."""
    for name in names:
        if absent := methods[name].missing():
            raise MethodNotInstalled(
                f"The explanation {name} needs {', '.join(absent)}, not installed here.",
                then="pip install 'dictamen[explain]', or leave it out of `explain:`.",
            )
