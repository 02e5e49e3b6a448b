"""The faults of group config, and hostile or broken files: each refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from config import Problem, Settings, SettingsError, load

Load = Callable[..., Settings]
Problems = Callable[..., tuple[Problem, ...]]
Changed = Callable[[str, str], str]


# ---- the faults of faults.yaml, group config ---------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "line", "path", "message", "suggestion"),
    [
        pytest.param(
            "  ae_title: DICTAMEN\n", "  ae_title: DICTAMEN\n  data_dri: x\n",
            3, "node.data_dri", "unknown key", "data_dir", id="nearest of the same mapping",
        ),
        pytest.param(
            "ae_title: DICTAMEN", "AE-Title: DICTAMEN",
            2, "node.AE-Title", "unknown key", "ae_title", id="case and dashes; nothing missing",
        ),
        pytest.param(
            "port: 104}", "prot: 104}",
            12, "destinations.pacs.prot", "unknown key", "port", id="in a branch of a union",
        ),
        pytest.param(
            "    bundle: chest\n", "    bundle: chest\n    quiet: 5s\n",
            9, "processors[0].quiet", "unknown key here; it belongs to processors.settle", "",
            id="known elsewhere",
        ),
        pytest.param(
            "processors:\n", "zzz: 1\nprocessors:\n",
            6, "zzz", "unknown key; known are node, intake, processors, reports, impressions,"
            " workers, destinations, retention", "", id="unlike any",
        ),
    ],
)  # fmt: skip
def test_cfg_unknown_key(
    problems: Problems,
    changed: Changed,
    old: str,
    new: str,
    line: int,
    path: str,
    message: str,
    suggestion: str,
) -> None:
    (found,) = problems(changed(old, new))
    assert (found.line, found.path, found.message) == (line, path, message)
    assert found.suggestion == suggestion


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param("abc", "'abc' is not a whole number from 1 to 65535", id="text"),
        pytest.param("'104'", "'104' is not a whole number from 1 to 65535", id="quoted"),
        pytest.param("70000", "'70000' is not a whole number from 1 to 65535", id="too large"),
        pytest.param("0", "'0' is not a whole number from 1 to 65535", id="too small"),
        pytest.param("1.7", "'1.7' is not a whole number from 1 to 65535", id="fraction"),
        pytest.param("104.0", "'104.0' is not a whole number from 1 to 65535", id="as a fraction"),
        pytest.param("true", "'true' is not a whole number from 1 to 65535", id="boolean"),
        pytest.param("null", "'null' is not a whole number from 1 to 65535", id="null"),
        pytest.param("", "nothing is not a whole number from 1 to 65535", id="nothing"),
        pytest.param("[104]", "this is not a whole number from 1 to 65535", id="list"),
    ],
)
def test_cfg_wrong_type(problems: Problems, changed: Changed, value: str, message: str) -> None:
    (found,) = problems(changed("port: 104", f"port: {value}"))
    assert (found.line, found.path, found.message) == (12, "destinations.pacs.port", message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param('""', "is empty", id="empty: the folder of whoever calls"),
        pytest.param("~/data", "~ is no home", id="of a shell"),
        pytest.param("${DICTAMEN_TEST_HOME}/data", "~ is no home", id="of a shell, by a variable"),
        pytest.param(r"C:\dictamen\data", "Windows", id="of Windows"),
        pytest.param("D:/dictamen", "Windows", id="of Windows, with slashes"),
        pytest.param(r"'\\server\share'", "Windows", id="of a Windows server"),
    ],
)
def test_cfg_path_that_would_be_another_place(
    problems: Problems, changed: Changed, value: str, message: str
) -> None:
    text = changed("  ae_title: DICTAMEN\n", f"  ae_title: DICTAMEN\n  data_dir: {value}\n")
    (found,) = problems(text, environ={"DICTAMEN_TEST_HOME": "~"})
    assert (found.line, found.path) == (3, "node.data_dir")
    assert message in found.message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        pytest.param("idle", "60", "write a number with its unit, for example 10s", id="no unit"),
        pytest.param("idle", "5m", "write a number with its unit", id="m is not min"),
        pytest.param("idle", "0s", "'0s' is out of range: more than 0s", id="no time at all"),
        pytest.param("pdu", "1KiB", "'1KiB' is out of range: at least 4KiB", id="too small"),
        pytest.param("pdu", "1GiB", "'1GiB' is out of range: at most 128MiB", id="too large"),
        pytest.param("pdu", "-4KiB", "write a number with its unit", id="negative"),
        pytest.param("associations", "0", "a whole number from 1 to 10000", id="range"),
    ],
)
def test_cfg_wrong_type_of_quantities(
    problems: Problems, changed: Changed, key: str, value: str, message: str
) -> None:
    text = changed("intake:\n", f"intake:\n  limits: {{{key}: {value}}}\n")
    (found,) = problems(text)
    assert (found.line, found.path) == (5, f"intake.limits.{key}")
    assert message in found.message


@pytest.mark.parametrize(
    ("value", "message", "suggestion"),
    [
        pytest.param(
            "[traversal, grad-cam]",
            "'grad-cam' is not one of traversal, gradcam, occlusion, lime, shap",
            "gradcam",
            id="nearly a name",
        ),
        pytest.param(
            "[saliency]",
            "'saliency' is not one of traversal, gradcam, occlusion, lime, shap",
            "",
            id="unlike any",
        ),
        pytest.param(
            "[lime, lime]", "this does not fit: lime is named twice", "", id="named twice"
        ),
    ],
)
def test_cfg_unknown_method_of_explanation(
    problems: Problems, changed: Changed, value: str, message: str, suggestion: str
) -> None:
    (found,) = problems(
        changed("    bundle: chest\n", f"    bundle: chest\n    explain: {value}\n")
    )
    assert (found.line, found.message, found.suggestion) == (9, message, suggestion)
    assert found.path.startswith("processors[0].explain")


def test_cfg_missing_secret(problems: Problems, changed: Changed) -> None:
    url = "  database: postgresql+psycopg://u:${DB_PASSWORD}@${DB_HOST}/d\n"
    text = changed("  ae_title: DICTAMEN\n", "  ae_title: DICTAMEN\n" + url)
    (found,) = problems(text, environ={"DB_HOST": "host-of-secret"})
    assert (found.line, found.path) == (3, "node.database")
    assert found.message == "environment variable DB_PASSWORD is not set"
    (found,) = problems(text, environ={"DB_HOST": "h", "DB_PASSWORD": ""})
    assert found.message == "environment variable DB_PASSWORD is empty"


def test_a_secret_is_quoted_for_the_url_and_never_shown(load_text: Load, changed: Changed) -> None:
    url = "  database: postgresql+psycopg://u:${DB_PASSWORD}@db/d\n"
    text = changed("  ae_title: DICTAMEN\n", "  ae_title: DICTAMEN\n" + url)
    settings = load_text(text, environ={"DB_PASSWORD": "p@ss/w:rd"})
    assert settings.node.database_url == "postgresql+psycopg://u:p%40ss%2Fw%3Ard@db/d"
    assert "p%40ss" not in repr(settings)
    whole = text.replace(url, "  database: ${DB_URL}\n")
    assert load_text(whole, environ={"DB_URL": "postgresql+psycopg://u:p@h/d"}).node.database


def test_no_message_holds_the_value_of_a_variable(problems: Problems, changed: Changed) -> None:
    text = changed("DICTAMEN", "${S}").replace("PACS, host: 10.1.2.3, port: 104", "'${S}', port: 1")
    text = text.replace("  audit_key_file", "  language: ${S}\n  database: ${S}\n  audit_key_file")
    found = problems(text, environ={"S": "hunter2-is-far-too-long"})
    assert len(found) == 5
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("p@ss\n", None, id="read, stripped and quoted"),
        pytest.param(None, "cannot be read: No such file or directory", id="absent"),
    ],
)
def test_password_file(
    load_text: Load,
    problems: Problems,
    changed: Changed,
    tmp_path: Path,
    content: str | None,
    message: str | None,
) -> None:
    lines = "  database: postgresql+psycopg://u@db/d\n  database_password_file: pw\n"
    text = changed("  ae_title: DICTAMEN\n", "  ae_title: DICTAMEN\n" + lines)
    if content is not None:
        (tmp_path / "pw").write_text(content)
        assert load_text(text).node.database == "postgresql+psycopg://u:p%40ss@db/d"
        return
    (found,) = problems(text)
    assert (found.line, found.message) == (4, message)


@pytest.mark.parametrize(
    ("old", "new", "path", "first"),
    [
        pytest.param("port: 104", "port: 104, port: 105", "destinations.pacs.port", 12, id="flow"),
        pytest.param("intake:\n", "node: {}\nintake:\n", "node", 1, id="top"),
        pytest.param("    bundle: chest\n", "    bundle: chest\n    bundle: brain\n",
                     "processors[0].bundle", 8, id="block"),
        pytest.param("Modality:", "Modality: CT, Modality:", "processors[0].when.Modality", 9,
                     id="rule"),
    ],
)  # fmt: skip
def test_cfg_duplicate_key(
    problems: Problems, changed: Changed, old: str, new: str, path: str, first: int
) -> None:
    found = problems(changed(old, new))
    assert found[0].path == path
    assert found[0].message == f"the same key twice; the first is in line {first}"


@pytest.mark.parametrize(
    "title",
    [
        pytest.param("A_TITLE_OF_17_CHR", id="17 characters"),
        pytest.param("'PACS\\1'", id="backslash"),
        pytest.param("ÑANDÚ", id="not ASCII"),
        pytest.param("' PACS'", id="leading space"),
        pytest.param("''", id="empty"),
        pytest.param('"PA\\nCS"', id="line break"),
    ],
)
@pytest.mark.parametrize(
    ("old", "path", "line"),
    [
        ("DICTAMEN", "node.ae_title", 2),
        ("PACS, host: 10.1.2.3}]", "intake.accept_from[0].ae_title", 5),
        ("PACS, host: 10.1.2.3, port", "destinations.pacs.ae_title", 12),
    ],
)
def test_cfg_bad_aet(
    problems: Problems, changed: Changed, title: str, old: str, path: str, line: int
) -> None:
    (found,) = problems(changed(old, title + old.removeprefix(old.split(",")[0])))
    assert (found.line, found.path) == (line, path)
    assert "1 to 16 printable ASCII characters and no backslash" in found.message
    assert "\n" not in found.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("port: 104", "port: 010", "010 is read as different numbers", id="octal"),
        pytest.param("port: 104", "port: 0o10", "0o10 is read as different", id="octal of 1.2"),
        pytest.param("port: 104", "port: 0x68", "0x68 is read as different", id="hexadecimal"),
        pytest.param("port: 104", "port: 1e3", "1e3 is read as different", id="exponent"),
        pytest.param("port: 104", "port: 1_040", "1_040 is read as different", id="underscore"),
        pytest.param("port: 104", "port: 12:30:00", "'12:30:00' is not a whole number", id="sixty"),
        pytest.param("[CR, DX]", "[CR, 010]", "'010' in quotes if it is a text", id="in a rule"),
        pytest.param("intake:\n", "intake:\n  quarantine: no\n", "'no' is not true or false",
                     id="no for a switch"),
        pytest.param("intake:\n", "intake:\n  quarantine: 1\n", "'1' is not true or false",
                     id="1 for a switch"),
        pytest.param("ae_title: DICTAMEN", "ae_title: 1234", "'1234' is not a text (quoted if it",
                     id="number for a text"),
    ],
)  # fmt: skip
def test_cfg_octal(problems: Problems, changed: Changed, old: str, new: str, message: str) -> None:
    (found,) = problems(changed(old, new))
    assert message in found.message


@pytest.mark.parametrize("text", ["NO", "no", "Yes", "off", "y", "12:30:00", "2026-11-21", "018Y"])
def test_cfg_octal_leaves_texts_of_a_rule_alone(
    load_text: Load, changed: Changed, text: str
) -> None:
    settings = load_text(changed("[CR, DX]", f"[{text}, null, 3, true]"))
    assert settings.processors[0].when == {"Modality": [text, None, 3, True]}


# ---- hostile and broken files ------------------------------------------------------------------
def laughs(levels: int) -> str:
    rows = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(rows)


def deep_by_aliases() -> str:
    rows = ["- &a0 [[[[[[[[[[x]]]]]]]]]]"]
    rows += [f"- &a{n} [[[[[[[[[[*a{n - 1}]]]]]]]]]]" for n in range(1, 40)]
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(laughs(6), "more than 20000 values, aliases written out", id="aliases"),
        pytest.param("a: &a [*a]", "*a names no &a before it", id="alias of itself"),
        pytest.param("a: *b", "*b names no &b before it", id="alias of nothing"),
        pytest.param("[" * 40 + "]" * 40, "nested more than 32 levels deep", id="levels"),
        pytest.param("[" * 100_000, "nested more than 32 levels deep", id="many levels"),
        pytest.param(deep_by_aliases(), "nested more than 32 levels", id="levels by aliases"),
        pytest.param("a" * 300_000, "longer than", id="size"),
        pytest.param("a: " + "b" * 1_200_000, "too long", id="size on disk"),
        pytest.param("node: !!python/object/apply:os.system [x]", "tag !!python/object/apply:os",
                     id="python tag"),
        pytest.param("node: !!binary aGk=", "tag !!binary is not taken", id="any tag"),
        pytest.param("node: {<<: {a: b}}", "merge keys are not part", id="merge key"),
        pytest.param("%YAML 1.1\n---\nnode: no", "directives", id="directive"),
        pytest.param("a: 1\n---\nb: 2", "a second document", id="two documents"),
    ],
)  # fmt: skip
def test_yaml_bomb(problems: Problems, text: str, message: str) -> None:
    found = problems(text)
    assert any(message in problem.message for problem in found)


@pytest.mark.parametrize(
    ("raw", "line", "message"),
    [
        pytest.param(b"node:\n\tae_title: X", 2, "indent with spaces, not with tabs", id="tab"),
        pytest.param(b"node:\n  label: a: b", 2, "quote a text that holds a colon", id="colon"),
        pytest.param(b"a:\n  - b: 1\n  c: 2\n", 3, "check the indentation", id="one step out"),
        pytest.param(b"a:\n  b: 1\n c: 2\n", 3, "check the indentation", id="between two steps"),
        pytest.param(b"n:\n c: 1\n a:1\n\nb: 2\n", 5, "line 3 needs a colon with a", id="no space"),
        pytest.param(b'a: "C:\\data"\n', 1, "without quotes", id="a backslash in quotes"),
        pytest.param(b"a: @b\n", 1, "put the text in quotes", id="a sign of YAML's own"),
        pytest.param(b"a: *THORAX*\n", 1, "quote a text with *", id="a pattern without quotes"),
        pytest.param(b"node: [1,\n", 2, "not YAML", id="open bracket"),
        pytest.param(b"node:\n  a: \x07", 2, "a character that YAML does not allow", id="control"),
        pytest.param(b"a: 1\nb: \xe9\n", 2, "is not UTF-8", id="Latin-1"),
        pytest.param(b"", 1, "the file must be a mapping with node:", id="empty"),
        pytest.param(b"- a\n", 1, "the file must be a mapping with node:", id="list"),
        pytest.param(b"? [a]\n: 1\n", 1, "a key is one plain word", id="strange key"),
    ],
)
def test_not_yaml(tmp_path: Path, raw: bytes, line: int, message: str) -> None:
    file = tmp_path / "node.yaml"
    file.write_bytes(raw)
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    assert any(p.line == line and message in p.message for p in caught.value.problems)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"node\.yaml: cannot be read: No such file"):
        load(tmp_path / "node.yaml", {})
