"""From shadow to live by the command line, on both databases: evidence, promotion, audit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from itertools import cycle

import pytest
from click.testing import Result
from shadow_seeds import WEIGHTS, analysis, judged, study_uid
from storage_fixtures import (  # noqa: F401 - the fixtures that `node` asks for
    KEY,
    NOON,
    Node,
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)
from typer.testing import CliRunner

from dicom_node import logs
from dicom_node.cli import app
from processors import kinds

NODE = """\
node: {{ae_title: DICTAMEN, data_dir: ., audit_key_file: audit.key, language: {language},
       database: "{url}"}}
intake: {{accept_from: anyone}}
processors:
  - {{name: chest, bundle: chest, when: {{Modality: DX}}}}
  - name: next
    bundle: chest
    mode: shadow
    when: {{Modality: DX}}
"""
MODE_LINE = 8
Command = Callable[..., Result]
DECIDES = ("--by", "Dra. Ana Ruiz", "--reason", "agrees with chest, and with our readings")


@pytest.fixture(name="dictamen")
def dictamen_fixture(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    (node.folder / "audit.key").write_bytes(KEY)
    config = node.folder / "node.yaml"
    url = "sqlite" if node.is_sqlite else node.url
    config.write_text(NODE.format(url=url, language="en"))
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("DICTAMEN_CONFIG", str(config))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@cache
def of_chest() -> str:
    """The weights of the bundle that node.yaml names."""
    return kinds.algorithm("vae_bundle", "chest").sha256


@pytest.fixture(scope="module", name="weights")
def weights_fixture() -> str:
    return of_chest()


VERSION = kinds.algorithm("vae_bundle", "chest").version


def filled(node: Node, weights: str, studies: int = 40, version: str = VERSION) -> None:
    """So many studies over some days, judged live by `chest` and in shadow by `next`."""
    states = cycle(["present", "absent", "absent", "undetermined", "absent"])
    for number in range(studies):
        state, at = next(states), NOON + timedelta(hours=5 * number)
        other = "absent" if number == 3 else state
        group = {"sex": "FM"[number % 2], "age": "40-64", "view": "PA", "maker": "ACME"}
        ours = analysis({"pneumonia": state}, weights=weights, version=version, strata=group)
        judged(node.storage, number, ours, at=at)
        theirs = analysis({"pneumonia": other})
        judged(node.storage, number, theirs, processor="chest", mode="live", at=at, digest="l")
    refused = analysis({}, status="unsuitable", kind="view", weights=weights, version=version)
    judged(node.storage, studies, refused, at=NOON)


def readings(node: Node, lines: list[str]) -> str:
    file = node.folder / "readings.csv"
    file.write_text("\n".join(["study,label,present", *lines]))
    return str(file)


def events(node: Node, kind: str) -> list:
    return [one for one in node.storage.audit.list(limit=10_000) if one.entry.kind == kind]


def test_the_report_has_agreement_readings_and_what_speaks_against(
    dictamen: Command, node: Node, weights: str
) -> None:
    filled(node, weights)
    file = readings(node, ["ACC-0,pneumonia,1", f"{study_uid(1)},pneumonia,0", "ACC-77,x,1"])
    said = json.loads(dictamen("processors", "shadow-report", "next", "--reference", file,
                               "--json").stdout)  # fmt: skip
    assert (said["studies"], said["endings"]["unsuitable"]["count"]) == (41, 1)
    assert said["reasons"] == {"unsuitable": {"view": 1}}
    (peer,) = said["peers"]
    assert (peer["processor"], peer["shared"], peer["whole"]["count"]) == ("chest", 40, 39)
    assert said["reference"]["unknown"] == 1
    (read,) = said["reference"]["labels"]
    assert (read["sensitivity"]["count"], read["specificity"]["count"]) == (1, 1)
    assert {"few_positive", "few_negative", "unmatched"} <= {c["kind"] for c in said["concerns"]}
    assert said["timings"]["analyse"]["median"] == 40.0
    told = dictamen("processors", "shadow-report", "next", "--reference", file).stdout
    assert "too few: n < 30" in told
    assert "Beside chest 1.4.0, which is live" in told


def test_the_period_can_be_narrowed(dictamen: Command, node: Node, weights: str) -> None:
    filled(node, weights)
    asked = ("processors", "shadow-report", "next", "--json")
    days = {
        words: len(json.loads(dictamen(*asked, *words).stdout)["days"])
        for words in ((), ("--since", "2026-03-04"), ("--until", "2026-03-03"))
    }
    assert list(days.values()) == [9, 6, 2]


def test_a_promotion_is_recorded_with_its_evidence_and_says_what_to_change(
    dictamen: Command, node: Node, weights: str
) -> None:
    filled(node, weights)
    done = dictamen("processors", "promote", "next", *DECIDES)
    assert done.exit_code == 0, done.output
    assert f"line {MODE_LINE}, set mode: live" in done.stdout
    (event,) = events(node, "processor.promoted")
    entry = event.entry
    assert (entry.event, entry.outcome, entry.who) == ("110113", 0, "Dra. Ana Ruiz")
    assert entry.details["weights_sha256"] == weights
    kept = node.storage.spool.read(entry.details["evidence_file"])
    assert hashlib.sha256(kept).hexdigest() == entry.details["evidence_sha256"]
    assert json.loads(kept)["studies"] == entry.details["studies"] == 41
    assert b"Mu\xc3\xb1oz" not in kept
    assert b"ACC-" not in kept
    assert node.storage.audit.verify() == ()
    (message,) = (m for m in node.storage.audit.export("dicom") if "processor.promoted" in m)
    assert 'UserID="Dra. Ana Ruiz"' in message
    listed = json.loads(dictamen("processors", "list", "--json").stdout)
    assert [(one["processor"], one["mode"], one["last"], one["remark"]) for one in listed] == [
        ("chest", "live", None, "live, never in shadow"),
        ("next", "shadow", "promoted", "promoted, still in shadow"),
    ]


def test_the_record_says_which_days_and_readings_the_evidence_was_of(
    dictamen: Command, node: Node, weights: str
) -> None:
    filled(node, weights, 3)
    file = readings(node, ["ACC-0,pneumonia,1"])
    chosen = ("--reference", file, "--since", "2026-03-01", "--until", "2026-04-01")
    done = dictamen("processors", "promote", "next", *DECIDES, *chosen)
    assert done.exit_code == 0, done.output
    details = events(node, "processor.promoted")[0].entry.details
    assert (details["since"], details["until"]) == ("2026-03-01", "2026-04-01")
    content = (node.folder / "readings.csv").read_bytes()
    assert details["reference_sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("fill", "why"),
    [
        pytest.param(lambda node: None, "no run in shadow", id="no evidence"),
        pytest.param(lambda node: filled(node, WEIGHTS, 3), "of weights abababab", id="weights"),
        pytest.param(lambda node: filled(node, of_chest(), 0), "no run in shadow", id="refusals"),
        pytest.param(
            lambda node: filled(node, of_chest(), 3, "0.9"), "is of version 0.9", id="version"
        ),
    ],
)
def test_a_promotion_without_evidence_of_these_weights_is_refused_unless_overruled(
    dictamen: Command, node: Node, fill: Callable[[Node], None], why: str
) -> None:
    fill(node)
    refused = dictamen("processors", "promote", "next", *DECIDES)
    assert refused.exit_code == 1
    assert why in refused.output
    assert "set mode" not in refused.output
    assert [one.entry.outcome for one in events(node, "processor.promotion_refused")] == [4]
    assert events(node, "processor.promoted") == []
    overruled = dictamen("processors", "promote", "next", *DECIDES, "--anyway", "--json")
    assert json.loads(overruled.stdout)["promoted"] is True
    (event,) = events(node, "processor.promoted")
    assert event.entry.details["overruled"] is True
    assert why in event.entry.details["objections"][0]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("promote", "next", "--reason", "why"), id="nobody"),
        pytest.param(("promote", "next", "--by", " ", "--reason", "why"), id="blank"),
        pytest.param(("promote", "next", "--by", "Ana", "--reason", "-"), id="no reason"),
        pytest.param(("demote", "next", "--by", "Ana"), id="demoted for nothing"),
    ],
)
def test_a_decision_has_a_person_and_a_reason(dictamen: Command, node: Node, words) -> None:
    assert dictamen("processors", *words).exit_code == 2
    assert not any(one.entry.kind.startswith("processor.") for one in node.storage.audit.list())


def test_the_way_back_is_recorded_too(dictamen: Command, node: Node) -> None:
    done = dictamen("processors", "demote", "chest", "--by", "Ana", "--reason", "too many alerts")
    assert done.exit_code == 0, done.output
    assert "line 5, below it, add mode: shadow" in done.stdout
    assert events(node, "processor.demoted")[0].entry.details["reason"] == "too many alerts"
    (chest, _) = json.loads(dictamen("processors", "list", "--json").stdout)
    assert chest["remark"] == "live, although it was demoted"


def listed(dictamen: Command, name: str) -> str:
    rows = json.loads(dictamen("processors", "list", "--json").stdout)
    return next(one["remark"] for one in rows if one["processor"] == name)


def test_a_live_processor_without_a_promotion_of_its_weights_is_remarked_on(
    dictamen: Command, node: Node, weights: str
) -> None:
    filled(node, weights, 3)
    config = node.folder / "node.yaml"
    config.write_text(config.read_text().replace("mode: shadow", "mode: live"))
    assert listed(dictamen, "next") == "live without a promotion"
    assert "says mode: live already" in dictamen("processors", "promote", "next", *DECIDES).stdout
    assert listed(dictamen, "next") == ""
    judged(node.storage, 50, analysis({"pneumonia": "absent"}))  # of other weights
    dictamen("processors", "promote", "next", *DECIDES, "--anyway")
    assert listed(dictamen, "next") == "live with other weights than were promoted"


def test_a_name_that_is_not_in_the_file_is_refused(dictamen: Command) -> None:
    done = dictamen("processors", "shadow-report", "nobody")
    assert (done.exit_code, "there are chest, next" in done.output) == (1, True)


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_page_holds_every_section_and_no_outside_thing(
    dictamen: Command, node: Node, weights: str, language: str
) -> None:
    filled(node, weights)
    config = node.folder / "node.yaml"
    config.write_text(config.read_text().replace("language: en", f"language: {language}"))
    page = node.folder / "page.html"
    file = readings(node, [f"ACC-{n},pneumonia,{int(n % 5 == 0)}" for n in range(40)])
    done = dictamen("processors", "shadow-report", "next", "--reference", file, "--html", page)
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert text.count("<h2>") == 7
    assert f'lang="{language}"' in text
    assert ("frente a" if language == "es" else "against the") in text
    assert not any(mark in text for mark in ("http", "<script", "Muñoz", "ACC-"))
