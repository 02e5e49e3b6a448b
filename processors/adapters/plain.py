"""Reads a MONAI configuration without running it: literals and references to literals.

MONAI's own parser evaluates every value that begins with `$`; here such a value is refused, as is
every `_target_` that the caller did not allow. Out: plain values. Never: an import, an evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processors.runtime import UnsafeBundle

DEEPEST = 8  # references to references
SPEECH = ("_desc_",)  # keys of a component that only people read


def literal(value: Any, config: Mapping[str, Any], depth: int = 0) -> Any:
    """The value with its references followed. Raises UnsafeBundle on anything that is code."""
    if depth > DEEPEST:
        raise UnsafeBundle("configs/inference.json refers to itself without end.")
    if isinstance(value, str) and value.startswith("@"):
        return literal(_referred(value, config), config, depth + 1)
    if isinstance(value, str) and value[:1] in ("$", "%"):
        raise UnsafeBundle(
            f"configs/inference.json computes {value[:80]!r}, and code of a bundle is not run.",
            then="Write the value itself.",
        )
    if isinstance(value, Mapping):
        if "_target_" in value:
            raise UnsafeBundle(
                f"configs/inference.json builds {value['_target_']!r} as an argument.",
                then="Only plain values are taken.",
            )
        return {key: literal(one, config, depth) for key, one in value.items()}
    if isinstance(value, list):
        return [literal(one, config, depth) for one in value]
    return value


def component(found: Any, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(target, arguments) of a component. Raises UnsafeBundle."""
    if isinstance(found, str) and found.startswith("@"):
        found = _referred(found, config)
    if not isinstance(found, Mapping) or not isinstance(found.get("_target_"), str):
        said = str(found)[:80]
        raise UnsafeBundle(f"configs/inference.json has {said!r} where a _target_ is expected.")
    given = {k: v for k, v in found.items() if k != "_target_" and k not in SPEECH}
    strange = [key for key in given if key.startswith("_")]
    if strange:
        raise UnsafeBundle(f"{found['_target_']} is built with {strange[0]}, which is not known.")
    return str(found["_target_"]), {key: literal(one, config) for key, one in given.items()}


def _referred(reference: str, config: Mapping[str, Any]) -> Any:
    value: Any = config
    for step in reference[1:].replace("#", "::").split("::"):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise UnsafeBundle(f"configs/inference.json has no {reference}.") from error
    return value
