"""node.yaml in, settings out, or every mistake of it at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from config import Problem, Settings, SettingsError, load

Load = Callable[..., Settings]
Problems = Callable[..., tuple[Problem, ...]]
Changed = Callable[[str, str], str]


def test_good_file(load_text: Load, good: str, tmp_path: Path) -> None:
    settings = load_text(good)
    assert settings.node.audit_key_file == tmp_path / "audit.key"
    assert settings.destinations["pacs"].give_up_after == 3 * 86400
    assert settings.intake.limits.pdu == 131072


# ---- what several values say together ----------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "line", "message", "suggestion"),
    [
        pytest.param("[pacs]", "[pasc]", 10, "no destination is called pasc", "pacs", id="send_to"),
        pytest.param("destinations:", "  - {name: chest, bundle: b, when: {}}\ndestinations:", 11,
                     "two processors are called chest; the first is in line 7", "", id="names"),
        pytest.param("[{ae_title: PACS, host: 10.1.2.3}]", "[]", 5, "names nobody", "",
                     id="nobody"),
        pytest.param("[{ae_title: PACS, host: 10.1.2.3}]", "anyon", 5,
                     "'anyon' is not a list or the word anyone", "anyone", id="anyone"),
        pytest.param("kind: dicom", "kind: dicm", 12, "'dicm' is not one of", "dicom", id="kind"),
        pytest.param("kind: dicom, ", "", 12, "is missing: one of dicom", "", id="no kind"),
        pytest.param("    bundle: chest\n", "", 7, "is missing: a shipped name or a path", "",
                     id="missing"),
        pytest.param("  pacs: {", "  pa cs: {", 12, "a name has letters, digits", "", id="name"),
    ],
)  # fmt: skip
def test_other_mistakes(
    problems: Problems,
    changed: Changed,
    old: str,
    new: str,
    line: int,
    message: str,
    suggestion: str,
) -> None:
    found = problems(changed(old, new))
    assert any(
        p.line == line and message in p.message and p.suggestion == suggestion for p in found
    ), found


def test_problems_of_a_rule_stand_among_the_others(problems: Problems, changed: Changed) -> None:
    text = changed("when: {Modality: [CR, DX]}", "when:\n      any:\n        - Modalty: CR")
    found = problems(
        text.replace("port: 104", "port: x"),
        check_rule=lambda when: [(("any", 0, "Modalty"), f"unknown in {sorted(when)}")],
    )
    assert [(p.line, p.path) for p in found] == [
        (11, "processors[0].when.any[0].Modalty"),
        (14, "destinations.pacs.port"),
    ]
    assert found[0].message == "unknown in ['any']"


def test_variables_stay_out_of_rules(load_text: Load, changed: Changed) -> None:
    settings = load_text(changed("[CR, DX]", "'${HOME}'"), environ={"HOME": "x"})
    assert settings.processors[0].when == {"Modality": "${HOME}"}
    escaped = changed("audit_key_file: audit.key", "audit_key_file: /k/$${A}")
    assert load_text(escaped).node.audit_key_file == Path("/k/${A}")


@pytest.mark.parametrize(
    ("bundle", "expected"), [("chest", "chest"), ("./m/x", "{}/m/x"), ("/m/x", "/m/x")]
)
def test_relative_paths_count_from_the_file(
    load_text: Load, changed: Changed, tmp_path: Path, bundle: str, expected: str
) -> None:
    settings = load_text(changed("bundle: chest", f"bundle: {bundle}"))
    assert settings.processors[0].bundle == expected.format(tmp_path)


def test_settings_survive_the_way_to_another_process(load_text: Load, good: str) -> None:
    settings = load_text(good)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def _only_modalty(when: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    return [((key,), "no such keyword") for key in when if key == "Modalty"]


def test_every_mistake_at_once(tmp_path: Path) -> None:
    file = Path(__file__).with_name("mistakes.yaml")
    with pytest.raises(SettingsError) as caught:
        load(file, {}, check_rule=_only_modalty)
    wanted = [
        (number, line.split("# wrong:")[1].strip())
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if "# wrong:" in line
    ]
    found = [(p.line, p.path) for p in caught.value.problems]
    assert found == wanted
    assert all(f"{file}: line {line}: {path}: " in str(caught.value) for line, path in wanted)


@pytest.mark.parametrize(
    "said", ["kind: http_endpoint", "endpoint: {url: 'https://h/x'}"], ids=["no url", "no endpoint"]
)
def test_kind_and_endpoint_belong_together(
    problems: Callable[..., Any], changed: Callable[[str, str], str], said: str
) -> None:
    (problem,) = problems(changed("    bundle: chest\n", f"    bundle: chest\n    {said}\n"))
    assert "belong together" in problem.message


@pytest.mark.parametrize("url", ["http://models.example.org/x", "https://u:p@h/x", "models/x"])
def test_an_address_that_no_image_may_go_to(
    problems: Callable[..., Any], changed: Callable[[str, str], str], url: str
) -> None:
    said = f"    bundle: chest\n    kind: http_endpoint\n    endpoint: {{url: '{url}'}}\n"
    (problem,) = problems(changed("    bundle: chest\n", said))
    assert "https://host:port/path" in problem.message
