"""The JSON Schema of node.yaml, made from the models: for editors, and for the words of messages.

Durations and sizes are strings with a pattern, and their defaults are written as people write
them. Never holds a rule that the models do not: it only reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from config.problems import Place
from config.settings import Settings

Schema = dict[str, Any]
_STEPS = {
    "duration": (("y", 31557600.0), ("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)),
    "size": (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1)),
}


def json_schema() -> Schema:
    """A schema for editors (JSON Schema 2020-12), without our own annotations."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tree()}
    cleaned: Schema = _readable(schema)
    cleaned["title"] = "dictamen node.yaml"
    return cleaned


def at(place: Place, data: Any) -> Schema:
    """The part of the schema that governs that place of those data; {} where anything goes."""
    here = _resolve(_tree(), data)
    for step in place:
        if isinstance(step, int):
            here = here.get("items", {})
        else:
            here = here.get("properties", {}).get(step) or _any_key(here)
        data = child(data, step)
        here = _resolve(here, data)
    return here


def known_keys(place: Place, data: Any) -> tuple[str, ...]:
    """The keys that a mapping at that place may have."""
    return tuple(at(place, data).get("properties", ()))


def homes(key: str) -> tuple[str, ...]:
    """The mappings of the file in which that key is known, dotted; "" is the top."""
    return tuple(dict.fromkeys(home for home, name in _all_keys(_tree(), "") if name == key))


def with_unit(number: float, unit: str) -> str:
    """A duration in seconds or a size in bytes, as people write it: 90000 -> 25h."""
    for name, worth in _STEPS[unit]:
        if number >= worth and abs(number / worth - round(number / worth)) < 1e-9:
            return f"{round(number / worth)}{name}"
    return f"{number:g}{_STEPS[unit][-2 if unit == 'duration' else -1][0]}"


def child(data: Any, step: str | int) -> Any:
    """What stands under that key or index of plain data; None where there is nothing."""
    if isinstance(data, dict):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return data[step]
    return None


@cache
def _tree() -> Schema:
    return Settings.model_json_schema()


def _any_key(schema: Schema) -> Schema:
    """What governs the values of a mapping whose keys are names."""
    for part in schema.get("patternProperties", {}).values():
        named: Schema = part
        return named
    return {}


def _resolve(schema: Schema, data: Any) -> Schema:
    """Follows $ref and, by the data, the branch of a union; the whole union if none fits."""
    while "$ref" in schema:
        schema = _tree()["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "discriminator" in schema:
        kind = data.get("kind") if isinstance(data, dict) else None
        branch = schema["discriminator"]["mapping"].get(kind) if isinstance(kind, str) else None
        return _resolve({"$ref": branch}, data) if branch else schema
    for branch in schema.get("anyOf", ()) if isinstance(data, list | dict) else ():
        branch = _resolve(branch, data)
        if branch.get("type") == ("array" if isinstance(data, list) else "object"):
            return branch
    return schema


def _all_keys(schema: Schema, home: str) -> Iterator[tuple[str, str]]:
    schema = _resolve(schema, None)
    for name, part in schema.get("properties", {}).items():
        yield home, name
        yield from _all_keys(part, f"{home}.{name}".strip("."))
    inner = [schema.get("items", {}), _any_key(schema)]
    inner += [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    for part in filter(None, inner):
        yield from _all_keys(part, home)


def _readable(part: Any) -> Any:
    """Drops our x- annotations and pydantic's titles; writes defaults with their units."""
    if isinstance(part, list):
        return [_readable(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _readable(value) for key, value in part.items() if not _dropped(key, value)}
    if "x-unit" in part and isinstance(part.get("default"), int | float):
        kept["default"] = with_unit(part["default"], part["x-unit"])
    if isinstance(kept.get("default"), dict):
        del kept["default"]  # a mapping's defaults stand at its keys, with their units
    return kept


def _dropped(key: str, value: Any) -> bool:
    return key.startswith("x-") or (key == "title" and isinstance(value, str))
