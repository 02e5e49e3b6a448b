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


# ---- what an administrator writes in good faith ------------------------------------------------
NODE, DEST = "  ae_title: DICTAMEN\n", "  pacs: {kind: dicom"
WRITTEN = [
    # two doors at one port
    pytest.param(NODE, f"{NODE}  status: 127.0.0.1:11112\n", 3, "node.status",
                 "port 11112 is that of node.listen by default, too", id="status where DICOM is"),
    pytest.param("intake:\n", "intake:\n  mllp: {listen: '[::]:8112', accept_from: anyone}\n", 5,
                 "intake.mllp.listen", "is that of node.status", id="reports at the status port"),
    pytest.param("intake:\n",
                 "intake:\n  tls: {listen: '[::]:11112', certificate: c, key_file: k}\n",
                 5, "intake.tls.listen", "needs one of its own", id="TLS where DICOM is"),
    # addresses and hosts
    pytest.param(NODE, f"{NODE}  listen: http://0.0.0.0:11112\n", 3, "node.listen",
                 "one address of this machine", id="an URL to listen on"),
    pytest.param(NODE, f"{NODE}  listen: '*:11112'\n", 3, "node.listen", "0.0.0.0 is all of them",
                 id="an asterisk to listen on"),
    pytest.param(NODE, f"{NODE}  listen: 12:30\n", 3, "node.listen", "one address", id="12:30"),
    pytest.param("host: 10.1.2.3}]", "host: ''}]", 5, "intake.accept_from[0].host",
                 "write a host name", id="a sender's address left empty"),
    pytest.param("host: 10.1.2.3}]", "host: 10.1.2.0/24}]", 5, "intake.accept_from[0].host",
                 "write a host name", id="a network for a sender"),
    pytest.param("host: 10.1.2.3, port", "host: '10.1.2.3:104', port", 12,
                 "destinations.pacs.host", "without port", id="a port within the host"),
    pytest.param("host: 10.1.2.3, port", "host: 10.1.2, port", 12, "destinations.pacs.host",
                 "an IP address in full", id="a part of the address is missing"),
    pytest.param("host: 10.1.2.3}]", "host: 10.1.2.3}, {ae_title: PACS}]", 5, "intake",
                 "binds PACS and names it once more", id="a sender bound, and not bound"),
    # names
    pytest.param("name: chest", "name: impressions", 7, "processors[0].name",
                 "impressions is the node's own", id="the node's own name for a processor"),
    pytest.param("name: chest", "name: tórax", 7, "processors[0].name", "letters, digits and",
                 id="a letter that no name has"),
    pytest.param("destinations:", "impressions: {send_to: [pacss]}\ndestinations:", 11,
                 "impressions.send_to[0]", "no destination is called pacss", id="drafts to nobody"),
    pytest.param("[pacs]", "[pacs, pacs]", 10, "processors[0].send_to", "pacs is named twice",
                 id="a destination twice"),
    pytest.param("[pacs]", "[pacs]\n    reports: [hl7_oru, hl7_oru]", 11, "processors[0].reports",
                 "hl7_oru is named twice", id="a kind of report twice"),
    pytest.param("intake:\n", "intake:\n  mllp: {listen: '[::]:2575', accept_from: []}\n", 5,
                 "intake.mllp.accept_from", "names nobody", id="reports from nobody"),
    # quantities
    pytest.param("destinations:", "retention: {studies: 10000y}\ndestinations:", 11,
                 "retention.studies", "at most 100y", id="longer than a calendar"),
    pytest.param("intake:\n", f"intake:\n  log: {'9' * 400}TiB\n", 5, "intake.log",
                 "at most 1024TiB", id="more than a float holds"),
    pytest.param("port: 104", "port: 104, timeout: 30d", 12, "destinations.pacs.timeout",
                 "at most 1d", id="longer than a socket waits"),
    pytest.param("[pacs]", "[pacs]\n    settle: {release: 0s}", 11, "processors[0].settle.release",
                 "'0s' is out of range: more than 0s", id="no time where time may be left out"),
    # texts that end up in objects and messages
    pytest.param(NODE, f'{NODE}  label: "Not for diagnosis.\\nA model said so."\n', 3, "node.label",
                 "one line", id="a label of two lines"),
    pytest.param(NODE, f"{NODE}  name: 'a\\b'\n", 3, "node.name", "no backslash",
                 id="a separator of DICOM values"),
    pytest.param(DEST, '  ris: {kind: mllp, host: h, application: R, facility: "H\\rX"}\n' + DEST,
                 12, "destinations.ris.facility", "one line", id="a separator of HL7 segments"),
    # the database
    pytest.param(NODE, f"{NODE}  database: postgresql+psycopg://u@db:x/d\n", 3, "node.database",
                 "the port of the database", id="a port that is none"),
    pytest.param(NODE, f"{NODE}  database: postgresql+psycopg://u:p@ss@h:x/d\n", 3, "node.database",
                 "the port of the database", id="a password that shifts the port"),
    pytest.param(NODE, f"{NODE}  database: postgresql+psycopg://u:p@s/s@db/d\n", 3, "node.database",
                 "write database_password_file", id="a password that is not quoted"),
    pytest.param(NODE, f"{NODE}  database: 'sqlite:///:memory:'\n", 3, "node.database",
                 "write sqlite, or", id="a database that is gone at once"),
    # where it stands
    pytest.param("    bundle: chest\n", "    bundle:\n\n    # later\n", 8, "processors[0].bundle",
                 "nothing is not a text", id="a value left out, a comment after it"),
    pytest.param("[pacs]", "[pacs", 11, "", "what opens in line 10 is not closed", id="a bracket"),
    pytest.param("audit.key", "'audit.key", 13, "", "what opens in line 3 is not closed",
                 id="a quotation mark"),
    pytest.param("port: 104", "port: ${PORT}", 12, "", "quote a text with a variable",
                 id="a variable within braces"),
    pytest.param("intake:\n", "intake:\n  quarantine: ${Q}\n", 5, "intake.quarantine",
                 "a variable fills in a text", id="a variable for a switch"),
    pytest.param("  ae_title: DICTAMEN", "\u00a0 ae_title: DICTAMEN", 3, "", "a special space",
                 id="copied from a page, indented"),
    pytest.param("port: 104", "port:\u00a0104", 12, "destinations.pacs.port:\u00a0104",
                 "a special space", id="copied from a page, after a colon"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "path", "message"), WRITTEN)
def test_is_told_with_its_line_and_a_way_out(
    problems: Problems, changed: Changed, old: str, new: str, line: int, path: str, message: str
) -> None:
    found = problems(changed(old, new), environ={"PORT": "104", "Q": "true"})
    assert [(one.line, one.path) for one in found] == [(line, path)]
    assert message in found[0].message


@pytest.mark.parametrize(
    "said", ["postgresql+psycopg://u:hunter2@db:x/d", "postgres://u:hunter2@db/d"]
)
def test_a_password_in_the_url_is_not_repeated(
    problems: Problems, changed: Changed, said: str
) -> None:
    (found,) = problems(changed(NODE, f"{NODE}  database: {said}\n"))
    assert "hunter2" not in str(found)


def test_an_sqlite_file_counts_from_the_settings_as_every_path_does(
    load_text: Load, changed: Changed, tmp_path: Path
) -> None:
    settings = load_text(changed(NODE, f"{NODE}  database: sqlite:///db/node.db\n"))
    assert settings.node.database_url == f"sqlite:///{tmp_path}/db/node.db"
    absolute = changed(NODE, f"{NODE}  database: sqlite:////srv/node.db\n")
    assert load_text(absolute).node.database_url == "sqlite:////srv/node.db"


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n"])
def test_a_password_file_holds_one_line(
    problems: Problems, changed: Changed, tmp_path: Path, content: str
) -> None:
    (tmp_path / "pw").write_text(content)
    lines = "  database: postgresql+psycopg://u@db/d\n  database_password_file: pw\n"
    (found,) = problems(changed(NODE, NODE + lines))
    assert (found.line, found.message) == (4, "must hold the password alone, in one line")


@pytest.mark.parametrize(
    "content", ["s3cret", "s3cret\n", "s3cret\r\n", "\ufeffs3cret\r\n"],
    ids=["bare", "a line", "of Windows", "with a byte order mark"],
)  # fmt: skip
def test_a_password_is_what_the_file_shows(
    load_text: Load, changed: Changed, tmp_path: Path, content: str
) -> None:
    (tmp_path / "pw").write_bytes(content.encode())
    lines = "  database: postgresql+psycopg://u@db/d\n  database_password_file: pw\n"
    found = load_text(changed(NODE, NODE + lines)).node.database_url
    assert found == "postgresql+psycopg://u:s3cret@db/d"


def test_no_refusal_is_without_a_reason(problems: Problems, changed: Changed) -> None:
    """What only the models know is said, too, though without a line."""
    assert problems(changed("name: chest", "name: agreement"))
