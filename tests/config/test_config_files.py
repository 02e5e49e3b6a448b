"""The example, the templates of `dictamen init`, and the JSON Schema: true to the models."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from config import Settings, load, schema, template
from config.settings import DEFAULT_LABEL

CONFIG = Path(str(files("config")))


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text("utf-8"))


def keys_of_models(node: dict[str, Any], tree: dict[str, Any]) -> Iterator[str]:
    """Every key that the models know, by the schema; `when:` is free and has none."""
    if "$ref" in node:
        node = tree["$defs"][node["$ref"].rsplit("/", 1)[1]]
    for name, part in node.get("properties", {}).items():
        yield name
        yield from keys_of_models(part, tree)
    branches = [node.get("items"), *node.get("patternProperties", {}).values()]
    for branch in (*branches, *node.get("anyOf", ()), *node.get("oneOf", ())):
        if isinstance(branch, dict):
            yield from keys_of_models(branch, tree)


def keys_of_file(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from keys_of_file(part)
    elif isinstance(value, list):
        for part in value:
            yield from keys_of_file(part)


def example_with_its_password(folder: Path) -> Settings:
    """The example as it is, beside the one secret that a load reads."""
    (folder / "secrets").mkdir()
    (folder / "secrets" / "database-password").write_text("x")
    (folder / "node.yaml").write_text((CONFIG / "example.yaml").read_text("utf-8"), "utf-8")
    return load(folder / "node.yaml", {})


def test_example_loads_and_names_every_key(tmp_path: Path) -> None:
    example_with_its_password(tmp_path)
    tree = Settings.model_json_schema()
    written = set(keys_of_file(read_yaml(CONFIG / "example.yaml")))
    assert set(keys_of_models(tree, tree)) - written == set()


def test_example_shows_the_defaults(tmp_path: Path) -> None:
    shown = example_with_its_password(tmp_path)
    bare = Settings.model_validate_json(
        '{"node": {"ae_title": "DICTAMEN", "audit_key_file": "k"}, "processors": [{"name": "chest",'
        ' "bundle": "chest", "when": {}}, {"name": "nodules", "kind": "monai_bundle", "bundle":'
        ' "b", "when": {}, "mode": "shadow"}, {"name": "second-look", "kind": "http_endpoint",'
        ' "mode": "shadow", "bundle": "b", "when": {}, "endpoint": {"url": "https://h"}}],'
        ' "intake": {"accept_from": "anyone", "tls": {"listen": "0.0.0.0:2762", "certificate": "c",'
        ' "key_file": "k"}, "mllp": {"listen": "0.0.0.0:2575", "accept_from":'
        ' "anyone"}, "stow": {"token_file": "t"}}, "destinations": {'
        ' "pacs": {"kind": "dicom", "ae_title": "PACS", "host": "h"}, "ris": {"kind": "mllp",'
        ' "host": "h", "application": "RIS", "facility": "HOSPITAL"},'
        ' "disk": {"kind": "folder", "path": "p"}}}'
    )
    said_to_be_yours = {
        "node": {"database", "database_password_file", "audit_key_file", "language"},
        "intake": {
            "accept_from": True,
            "tls": {"certificate", "key_file"},
            "mllp": {"accept_from"},
            "stow": {"listen", "token_file", "certificate", "key_file", "trusted"},
        },
        "impressions": {"send_to"},
        "processors": {
            0: {"when", "send_to", "settle"},
            1: {"when", "settle", "bundle"},
            2: {"when": True, "bundle": True, "endpoint": {"url", "trusted", "token_file"}},
        },
        "destinations": {"pacs": {"host"}, "ris": {"host"}, "disk": {"path"}},
    }
    assert shown.model_dump(exclude=said_to_be_yours) == bare.model_dump(exclude=said_to_be_yours)
    assert shown.processors[0].settle.quiet == bare.processors[0].settle.quiet
    assert shown.processors[0].settle.longest == bare.processors[0].settle.longest


@pytest.mark.parametrize("language", template.LANGUAGES)
def test_a_first_node_yaml_loads(tmp_path: Path, language: str) -> None:
    node, key = template.write(tmp_path / "new", language)
    settings = load(node, {})
    assert settings.node.language == language
    assert settings.node.audit_key_file == key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", key.read_text())


def test_both_languages_say_the_same() -> None:
    english, spanish = (
        read_yaml(CONFIG / "templates" / f"node.{name}.yaml") for name in template.LANGUAGES
    )
    assert english["node"].pop("language") == "en"
    assert spanish["node"].pop("language") == "es"
    assert spanish["node"].pop("label") != DEFAULT_LABEL  # which is English
    assert english == spanish


@pytest.mark.parametrize("there", ["node.yaml", "audit.key"])
def test_init_never_overwrites(tmp_path: Path, there: str) -> None:
    (tmp_path / there).symlink_to("nowhere")  # even what leads nowhere was put there by someone
    with pytest.raises(FileExistsError) as caught:
        template.write(tmp_path, "en")
    assert caught.value.filename == str(tmp_path / there)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_schema_is_written_for_people() -> None:
    tree = schema.json_schema()
    limits = tree["$defs"]["Limits"]["properties"]
    assert limits["pdu"]["default"] == "128KiB"
    assert re.fullmatch(limits["pdu"]["pattern"], "128KiB")
    assert limits["handshake"]["default"] == "5s"
    assert limits["associations"]["maximum"] == 10_000
    assert tree["additionalProperties"] is False
    assert "x-unit" not in str(tree)


def test_every_key_is_described() -> None:
    plain = {"kind", "host", "port"}  # the words say it
    tree = schema.json_schema()
    silent = [
        f"{model}.{key}"
        for model, part in tree["$defs"].items()
        for key, field in part["properties"].items()
        if "description" not in field and "$ref" not in field and key not in plain
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (5400, "duration", "90min"),
        (0.5, "duration", "500ms"),
        (10 * 31557600.0, "duration", "10y"),
        (0, "duration", "0s"),
        (131072, "size", "128KiB"),
        (1000, "size", "1000B"),
    ],
)
def test_quantities_as_people_write_them(number: float, unit: str, text: str) -> None:
    assert schema.with_unit(number, unit) == text
