"""Language models as sources: what they are asked, what they are refused for, what they answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_language import chat_shaped, flan_shaped
from tiny_reports import pairs

from processors.adapters.http_endpoint import AnswerInvalid, Question
from processors.impressions import ctranslate, prompts
from processors.impressions.drafting import Candidate, Request
from processors.impressions.http_writer import HttpWriter
from processors.impressions.language_model import open_language_model
from processors.impressions.masking import masked
from processors.impressions.prompts import Asking, LanguageModelError, Tokens, prompt, read_asking
from processors.impressions.seq2seq import Seq2Seq
from processors.impressions.written import LanguageModel, Written

ROOT = Path(__file__).parents[3]
REQUEST = Request("Small left pleural effusion.\nNo pneumothorax.", "en", "Cough.")
WORDS = Tokens(lambda text: len(text.split()), lambda text: text.split(), " ".join)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def flan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flan_shaped(tmp_path_factory.mktemp("flan") / "flan-t5-shaped")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_shaped(tmp_path_factory.mktemp("chat") / "chat-shaped")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"template": "Summarise."}, "needs {findings}"),
        ({"template": "{findings} {patient}"}, "names findings, patient"),
        ({"template": "{findings.__class__}"}, "needs {findings}"),
        ({"template": "{findings!r:>900000}"}, "needs {findings}"),
        ({"template": "{findings"}, "cannot be read"),
        ({"outputs": 3, "beams": 2}, "3 outputs of 2 beams"),
        ({"beams": 17}, "beams <= 16"),
        ({"longest_input": 4}, "out of range"),
        ({"longest_output": 0}, "out of range"),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(LanguageModelError, match=reason):
        Asking(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "longest", "text", "lost"),
    [
        ("F: {findings}", 20, "F: Small left pleural effusion. No pneumothorax.", 0),
        ("F: {findings}", 8, "F: Small left pleural effusion. No pneumothorax.", 0),
        ("a: {findings} {indication} b", 8, "a: Small left pleural effusion. No Cough. b", 1),
        ("a b c d e f g {findings} h", 8, "a b c d e f g  h", 6),
    ],
)  # fmt: skip
def test_a_question_loses_findings_and_nothing_else(
    template: str, longest: int, text: str, lost: int
) -> None:
    found = prompt(REQUEST, Asking(template, longest_input=longest), WORDS)
    assert (found.text, found.lost) == (text, lost)


def test_a_template_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(LanguageModelError, match="without findings is longer than 8"):
        prompt(REQUEST, Asking("1 2 3 4 5 6 7 8 9 {findings}", longest_input=8), WORDS)


@pytest.mark.parametrize("language", prompts.TEMPLATES)
def test_the_usual_question_is_in_the_language_of_the_report(language: str) -> None:
    said = prompt(Request("Uno.", language), Asking(), WORDS).text
    assert said == prompts.TEMPLATES[language].format(findings="Uno.")


@pytest.mark.parametrize(
    ("held", "reason"),
    [("{", "cannot be read"), ('{"asking": {"beam": 1}}', "holds beam"), ("[]", "cannot be read"),
     ('{"asking": {"beams": "4"}}', "no setting")],
)  # fmt: skip
def test_settings_of_a_folder_are_read_strictly(held: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / prompts.SETTINGS).write_text(held)
    with pytest.raises(LanguageModelError, match=reason):
        read_asking(tmp_path)


def test_what_is_asked_for_wins_over_the_folder(tmp_path: Path) -> None:
    held = prompts.record(Asking(beams=2, longest_output=32))
    (tmp_path / prompts.SETTINGS).write_text(json.dumps({"asking": held}))
    found = read_asking(tmp_path, {"beams": 3, "longest_input": None})
    assert found == Asking(beams=3, longest_output=32)


def damaged(folder: Path, name: str, content: str | None) -> None:
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", None, "is no Hugging Face model folder"),
        ("config.json", "{", "is no Hugging Face model folder"),
        ("config.json", "[]", "holds no JSON object"),
        ("config.json", '{"model_type": "t5", "auto_map": {"AutoModel": "x.Y"}}', "never done"),
        ("config.json", '{"model_type": "unheard-of"}', "cannot be opened"),
        ("model.safetensors", None, "no weights as safetensors"),
        ("model.safetensors", "no weights", "cannot be opened"),
        ("tokenizer.json", "{}", "cannot be opened"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    name: str, content: str | None, reason: str, flan: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(flan, tmp_path / "copy"))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that must not be opened")
    damaged(folder, name, content)
    with pytest.raises(LanguageModelError, match=reason):
        open_language_model(folder, "cpu")


def test_a_model_without_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match="no chat template"):
        open_language_model(chat_shaped(tmp_path / "plain", None), "cpu")


def test_a_gpu_that_is_not_there_is_said(flan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(LanguageModelError, match="no GPU"):
        open_language_model(flan, "cuda")


@pytest.mark.parametrize("kind", ["flan", "chat", "converted"])
def test_a_model_offers_what_it_was_asked_for(
    kind: str, flan: Path, chat: Path, tmp_path: Path
) -> None:
    folder = {"flan": flan, "chat": chat}.get(kind) or ctranslate.convert(flan, tmp_path / "int8")
    changes = {"beams": 3, "outputs": 3, "longest_output": 6, "longest_input": 96}
    model = open_language_model(folder, "cpu", changes)
    found = model.candidates(REQUEST)
    assert 1 <= len(found) <= 3
    assert len(set(found)) == len(found)
    assert {candidate.origin for candidate in found} == {"generated"}
    assert model.candidates(REQUEST) == found


@pytest.mark.parametrize("kind", ["flan", "chat"])
def test_a_batch_answers_as_one_by_one(kind: str, flan: Path, chat: Path) -> None:
    model = open_language_model({"flan": flan, "chat": chat}[kind], "cpu", {"longest_output": 5})
    asked = [Request(pair.findings, "en") for pair in pairs()[:5]] + [Request("Clear.", "en")]
    told: list[int] = []
    together = model.answered(asked, told.append)
    assert [each.candidates for each in together] == [model.candidates(one) for one in asked]
    assert told == [6]


@pytest.mark.parametrize("kind", ["flan", "chat", "converted"])
def test_what_the_limits_took_is_counted(kind: str, flan: Path, chat: Path, tmp_path: Path) -> None:
    folder = {"flan": flan, "chat": chat}.get(kind) or ctranslate.convert(flan, tmp_path / "int8")
    model = open_language_model(folder, "cpu", {"longest_input": 64, "longest_output": 4})
    short, long = model.answered([Request("Clear.", "en"), Request("Effusion. " * 60, "en")])
    assert (short.lost, long.lost > 60) == (0, True)
    assert isinstance(short.full, bool)


def test_a_converted_model_scores_as_the_original(flan: Path, tmp_path: Path) -> None:
    """Log-probabilities, because scaled outputs would leave the likeliest word as it is."""
    converted = ctranslate.Converted(ctranslate.convert(flan, tmp_path / "int8"))
    original = open_language_model(flan, "cpu").writer
    assert isinstance(original, Seq2Seq)
    asked, said = "Findings: effusion.", "Small left pleural effusion."
    tokens = [converted._tokenizer.encode(text).tokens for text in (asked, said)]
    found = converted._network.score_batch([tokens[0]], [tokens[1][:-1]])[0].log_probs
    expected = original.likelihoods([asked], said, Asking())[0]
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda flan, chat, out: (chat, out), "no sequence-to-sequence model"),
        (lambda flan, chat, out: (flan, flan), "exists already"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    make: Callable[[Path, Path, Path], tuple[Path, Path]],
    reason: str,
    flan: Path,
    chat: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(LanguageModelError, match=reason):
        ctranslate.convert(*make(flan, chat, tmp_path / "out"))


class Parrot:
    """A Writer that says what it was told to say."""

    def __init__(self, *said: str) -> None:
        self.said = said

    def prompt(self, request: Request, asking: Asking) -> prompts.Prompt:
        return prompts.Prompt(request.findings)

    def write(self, asked: list[prompts.Prompt], asking: Asking) -> list[Written]:
        return [Written(self.said)] * len(asked)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (("Effusion.", " Effusion.\n", "Nodule."), ("Effusion.", "Nodule.")),
        (("", "...", "42"), ()),
        (("XXXX effusion.",), ("effusion.",)),
    ],
)
def test_empty_and_repeated_answers_are_no_candidates(
    said: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    model = LanguageModel("parrot", Parrot(*said), Asking())
    assert model.candidates(REQUEST) == tuple(Candidate(text, "generated") for text in kept)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Compared with 12/03/2024, unchanged.", "Compared with [...], unchanged."),
        ("Visto el 3 de marzo de 2021.", "Visto el [...]."),
        ("Since March 2020.", "Since [...]."),
        ("At 14:35 h.", "At [...] h."),
        ("Discussed with Dr. Alan Grey at noon.", "Discussed with [...] at noon."),
        ("La Dra. María de la Peña avisada.", "La [...] avisada."),
        ("MRN 00123456.", "MRN [...]."),
        ("Call 555 123 4567.", "Call [...]."),
        ("Accession CR2024A0001.", "Accession [...]."),
        ("Write to a.b@example.org.", "Write to [...]."),
        ("A 93-year-old man.", "A [...]-year-old man."),
        ("Don DUARTE tiene derrame.", "Don [...] tiene derrame."),
        # what a finding needs stays
        ("Nodule of 2.1 x 3.4 cm at T12-L1.", "Nodule of 2.1 x 3.4 cm at T12-L1."),
        ("A 62-year-old with 3 rib fractures.", "A 62-year-old with 3 rib fractures."),
        ("La paciente duarteana.", "La paciente duarteana."),
        ("May represent pneumonia. 10 mm.", "May represent pneumonia. 10 mm."),
    ],
)
def test_what_names_somebody_does_not_leave(text: str, left: str) -> None:
    assert masked(text, ["DUARTE^Ana"]) == left


def reply(change: Callable[[dict[str, object]], object]) -> tuple[HttpWriter, list[Question]]:
    sent: list[Question] = []

    def post(question: Question) -> bytes:
        sent.append(question)
        return json.dumps(change(json.loads(question.body))).encode()

    return HttpWriter(post, outputs=2, names=["DUARTE^Ana"]), sent


def answer(*said: str) -> Callable[[dict[str, object]], object]:
    return lambda asked: {"request": asked["request"], "impressions": said}


def test_an_endpoint_sees_no_name_and_is_read_strictly() -> None:
    writer, sent = reply(answer("Effusion.", "Effusion.", "[...] Nodule.", "Third."))
    request = Request("Duarte, 12/03/2024: left effusion.", "en", "Seen by Dr. Grey.")
    assert [each.text for each in writer.candidates(request)] == ["Effusion.", "Nodule."]
    body = json.loads(sent[0].body)
    assert body["findings"] == "[...], [...]: left effusion."
    assert body["indication"] == "Seen by [...]."
    assert set(body) == {
        "request", "findings", "indication", "language", "outputs", "characters"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda asked: {"request": "other", "impressions": []}, "another request"),
        (lambda asked: [], "no impression"),
        (lambda asked: {"request": asked["request"]}, "impressions: Field required"),
        (lambda asked: answer()(asked) | {"more": 1}, "more: Extra inputs"),  # type: ignore[operator]
        (answer("x" * 2001), "at most 2000"),
        (answer(*["x"] * 17), "at most 16"),
    ],
)
def test_an_endpoint_that_answers_something_else_is_refused(
    change: Callable[[dict[str, object]], object], reason: str
) -> None:
    with pytest.raises(AnswerInvalid, match=reason):
        reply(change)[0].candidates(REQUEST)


@pytest.mark.parametrize(
    "module",
    ["language_model", "seq2seq", "causal", "ctranslate", "http_writer", "written", "prompts"],
)
def test_no_library_is_loaded_before_a_model_is_opened(module: str) -> None:
    heavy = ("torch", "transformers", "tokenizers", "ctranslate2", "peft")
    question = (
        f"import sys, processors.impressions.{module}; "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", question], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (told.stdout.strip(), told.stderr) == ("[]", "")
