"""What a method of explanation is to its callers: two functions, what it needs, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from processors.analysis import Explanation
from processors.explain.subject import Subject
from processors.vae.latent import Array


@dataclass(frozen=True, slots=True)
class Method:
    """explain: of a subject, in a language. map_of: (size, size) in the network's grid, larger
    where more speaks for the finding. needs: packages of the extra `explain`. cost_ms: of `explain`
    on one core, roughly.
    """

    explain: Callable[[Subject, str], Explanation]
    map_of: Callable[[Subject], Array]
    needs: tuple[str, ...]
    cost_ms: int

    def missing(self) -> tuple[str, ...]:
        """Which of the packages are not installed; none is loaded to find out."""
        return tuple(name for name in self.needs if find_spec(name) is None)
