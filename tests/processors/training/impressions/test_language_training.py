"""A model is taught, killed, taught on and drafts: anew, wholly and by adapters."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_language import chat_shaped, flan_shaped
from tiny_reports import pairs, rows, write
from typer.testing import CliRunner

from dicom_node.cli.app import app
from processors.impressions.causal import asked
from processors.impressions.drafting import Request
from processors.impressions.language_model import open_language_model
from processors.impressions.model_folder import open_folder
from processors.impressions.prompts import Asking, LanguageModelError
from processors.training.impressions import language_work
from processors.training.impressions.language_data import examples, make_tokenizer, split
from processors.training.impressions.language_network import new_network
from processors.training.impressions.language_options import SHAPES, Teaching
from processors.training.impressions.language_trainer import questions
from processors.training.impressions.language_training import Places, teach

ROOT = Path(__file__).parents[4]
ASKING = Asking(beams=2, longest_input=96, longest_output=24)
TINY = Teaching("full", epochs=2, validation=0.2, batch=4, shape="tiny", asking=ASKING)
COMMAND = [
    *(sys.executable, "-m", "dicom_node.cli", "impressions", "train", "--cpu"),
    *("--validation", "0.2", "--batch", "4", "--longest-input", "96", "--longest-output", "24"),
]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def flan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flan_shaped(tmp_path_factory.mktemp("flan") / "flan-t5-shaped")


@pytest.fixture(scope="module", params=["scratch", "full", "lora"])
def taught(
    request: pytest.FixtureRequest, flan: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    place = tmp_path_factory.mktemp(request.param)
    teaching = replace(TINY, way=request.param, vocabulary=400)
    start = None if request.param == "scratch" else flan
    made = teach(pairs(), teaching, Places(place / "made", place / "work", start), cpu=True)
    return request.param, made


def test_what_is_taught_is_a_folder_that_drafts(taught: tuple[str, Path]) -> None:
    _, made = taught
    names = {path.name for path in made.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "dictamen.json", "README.md"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    model = open_language_model(made, "cpu")
    assert model.asking == ASKING
    assert len(model.candidates(Request("Small effusion.", "en"))) <= 1


def test_teaching_moves_the_weights_that_it_should(taught: tuple[str, Path], flan: Path) -> None:
    way, made = taught
    if way == "scratch":
        return
    before, after = (load_file(folder / "model.safetensors") for folder in (flan, made))
    assert set(before) == set(after)  # the head of its own is still there
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    if way == "lora":
        assert moved
        assert all(name.endswith((".q.weight", ".v.weight")) for name in moved)
        assert (made / "adapter" / "adapter_model.safetensors").is_file()
    else:
        assert {"lm_head.weight", "shared.weight"} <= moved


def test_outputs_are_scaled_as_those_of_the_start(taught: tuple[str, Path]) -> None:
    way, made = taught
    config = json.loads((made / "config.json").read_text())
    assert config["tie_word_embeddings"] is (way == "scratch")
    assert config["scale_decoder_outputs"] is (way == "scratch")


def test_the_log_holds_loss_validation_and_rouge(taught: tuple[str, Path]) -> None:
    _, made = taught
    told = [json.loads(line) for line in (made / "training.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in told if "validation_loss" in row] == [1, 2]
    assert sum("loss" in row for row in told) >= 2
    with (made / "training.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(told)
    assert set(table[0]) == set(language_work.COLUMNS)


def test_the_card_says_what_was_measured_and_no_report(taught: tuple[str, Path]) -> None:
    _, made = taught
    card = (made / "README.md").read_text()
    kept = json.loads((made / "dictamen.json").read_text())["taught"]["kept"]
    assert f"{kept['validation_loss']:.3f}" in card
    assert "Not for diagnostic use" in card
    assert not any(pair.impression in card or pair.findings in card for pair in pairs())


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_shaped(tmp_path_factory.mktemp("chat") / "chat-shaped")


@pytest.mark.parametrize("way", ["full", "lora"])
def test_a_causal_model_is_taught_by_the_same_command(way: Any, chat: Path, tmp_path: Path) -> None:
    places = Places(tmp_path / "made", tmp_path / "work", chat)
    made = teach(pairs(), replace(TINY, way=way), places, cpu=True)
    before, after = (load_file(folder / "model.safetensors") for folder in (chat, made))
    assert set(before) == set(after)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert ("model.embed_tokens.weight" in moved) is (way == "full")
    assert "model.layers.0.self_attn.q_proj.weight" in moved
    assert (made / "adapter").is_dir() is (way == "lora")
    told = [json.loads(line) for line in (made / "training.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in told if "validation_loss" in row] == [1, 2]
    model = open_language_model(made, "cpu")
    assert model.asking == ASKING
    assert len(model.candidates(Request("Small effusion.", "en"))) <= 1


def test_a_causal_model_learns_the_answer_alone(chat: Path) -> None:
    tokenizer = open_folder(chat, "cpu").tokenizer
    found = examples(pairs()[:3], tokenizer, ASKING, causal=True)
    for pair, row in zip(pairs()[:3], found.rows, strict=True):
        question = asked(Request(pair.findings, "en", pair.indication), ASKING, tokenizer).text
        given = tokenizer(question, add_special_tokens=False).input_ids
        answer = row["input_ids"][len(given) :]
        assert row["input_ids"][: len(given)] == given
        assert row["labels"] == [-100] * len(given) + answer
        assert answer[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(answer, skip_special_tokens=True).strip() == pair.impression


def test_at_validation_a_causal_model_sees_the_question_alone() -> None:
    batch = {
        "input_ids": torch.tensor([[5, 6, 7, 8, 1], [5, 9, 1, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "labels": torch.tensor([[-100, -100, -100, 8, 1], [-100, 9, 1, -100, -100]]),
    }
    found = questions(batch, 0)
    assert found["input_ids"].tolist() == [[5, 6, 7], [0, 0, 5]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_a_network_learns() -> None:
    """Not what it says, which is up to chance on two dozen reports: that its loss falls."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(pairs(), 400)
    network = new_network("tiny", len(tokenizer))
    rows_ = examples(pairs()[:4], tokenizer, ASKING).rows
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        held = [
            network(
                input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])
            ).loss
            for row in rows_
        ]
        loss = torch.stack(held).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("shape", [flan_shaped, chat_shaped])
def test_killed_and_taught_on_is_as_taught_in_one_go(
    shape: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Killed by SIGKILL after the first checkpoint, started again with the same command."""
    data = write(tmp_path / "pairs.csv")
    start = shape(tmp_path / "start")
    options = ["--pairs", str(data), "--start", str(start), "--epochs", "4"]

    def run(name: str, kill: bool) -> Path:
        out, work = tmp_path / name, tmp_path / f"{name}.work"
        command = [*COMMAND, *options, "--out", str(out)]
        if kill:
            started = subprocess.Popen(
                command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until = time.monotonic() + 120
            while time.monotonic() < until and not language_work_has_state(work):
                time.sleep(0.02)
            started.send_signal(signal.SIGKILL)
            started.wait()
            assert not out.exists()
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("goes on from checkpoint" in done.stderr) is kill
        return out

    whole, parted = run("whole", kill=False), run("parted", kill=True)
    expected, found = weights(whole), weights(parted)
    assert all(torch.allclose(expected[name], found[name], atol=1e-5) for name in expected)
    steps = [json.loads(x)["step"] for x in (parted / "training.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def language_work_has_state(work: Path) -> bool:
    return any(work.glob("checkpoint-*/trainer_state.json"))


def checkpoint(work: Path, step: int, state: str | None) -> None:
    (work / f"checkpoint-{step}").mkdir(parents=True)
    if state is not None:
        (work / f"checkpoint-{step}" / "trainer_state.json").write_text(state)


@pytest.mark.parametrize(
    ("states", "last"),
    [
        ({5: "{}", 10: "{}"}, "checkpoint-10"),
        ({5: "{}", 10: None}, "checkpoint-5"),
        ({9: "{}", 10: '{"half'}, "checkpoint-9"),
        ({5: None}, None),
        ({}, None),
    ],
)
def test_only_a_whole_checkpoint_counts(
    states: dict[int, str | None], last: str | None, tmp_path: Path
) -> None:
    for step, state in states.items():
        checkpoint(tmp_path, step, state)
    found = language_work.last_checkpoint(tmp_path)
    assert (found.name if found else None) == last
    whole = {f"checkpoint-{n}" for n, state in states.items() if state == "{}"}
    assert {path.name for path in tmp_path.iterdir()} == whole


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"way": "half"}, "none of scratch, full, lora"),
        ({"shape": "huge"}, "none of tiny"),
        ({"epochs": 0}, "epochs"),
        ({"validation": 0}, "validation share"),
        ({"validation": 0.6}, "validation share"),
        ({"batch": 0}, "at least 1"),
        ({"batch": 8, "pieces": 3}, "divide"),
        ({"rate": -1}, "negative"),
        ({"vocabulary": 10}, "256 tokens"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(LanguageModelError, match=reason):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("way", "start", "reason"),
    [
        ("scratch", "flan", "do not go together"),
        ("lora", None, "needs a folder"),
        ("full", "mute", "no chat template"),
        ("full", "nothing", "no Hugging Face model folder"),
    ],
)
def test_ways_and_starts_that_do_not_fit_are_refused(
    way: Any, start: str | None, reason: str, flan: Path, tmp_path: Path
) -> None:
    folder = {"flan": flan, "mute": chat_shaped(tmp_path / "mute", None)}.get(start or "")
    places = Places(tmp_path / "out", tmp_path / "work", folder or (start and tmp_path) or None)
    with pytest.raises(LanguageModelError, match=reason):
        teach(pairs(), replace(TINY, way=way), places, cpu=True)


def test_a_folder_that_is_there_is_not_overwritten(flan: Path, tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match="exists already"):
        teach(pairs(), TINY, Places(tmp_path, tmp_path / "work", flan), cpu=True)


def test_the_work_of_another_training_is_not_taken_over(tmp_path: Path) -> None:
    language_work.claim(tmp_path, {"pairs": "a", "teaching": TINY.record()})
    language_work.claim(tmp_path, {"pairs": "a", "teaching": TINY.record()})
    with pytest.raises(LanguageModelError, match="another training: pairs"):
        language_work.claim(tmp_path, {"pairs": "b", "teaching": TINY.record()})


def test_near_duplicates_do_not_teach_and_choose() -> None:
    found = split(pairs(), 0.3, 0)
    groups = [{pair.group for pair in part} for part in (found.teaching, found.choosing)]
    assert not groups[0] & groups[1]
    assert {pair.split for part in (found.teaching, found.choosing) for pair in part} == {"train"}
    assert split(pairs(), 0.3, 0) == found
    assert split(pairs(), 0.3, 1) != found


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(LanguageModelError, match="0 pairs to learn from"):
        split(pairs("val"), 0.05, 0)


def test_a_new_tokenizer_knows_every_letter() -> None:
    tokenizer = make_tokenizer(pairs("train"), 400)
    text = " Índice cardiotorácico ≥ 0,5; señor 漢"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)


def test_examples_end_within_the_limits() -> None:
    tokenizer = make_tokenizer(pairs("train"), 400)
    long = replace(pairs()[0], findings="Effusion. " * 90, impression="Effusion. " * 90)
    found = examples([pairs()[0], long], tokenizer, ASKING)
    assert [found.cut, len(found)] == [1, 2]
    assert all(len(row["input_ids"]) <= 96 for row in found.rows)
    assert [row["labels"][-1] for row in found.rows] == [1, 1]
    assert len(found[1]["labels"]) == 24


@pytest.mark.parametrize(("shape", "millions"), [("small", 77), ("base", 248)])
def test_shapes_are_those_that_were_published(shape: str, millions: int) -> None:
    """Parameters with FLAN-T5's 32,128 tokens and a head of its own."""
    with torch.device("meta"):
        network = new_network(shape, 32128)
    own_head = 32128 * SHAPES[shape][0]
    assert round((network.num_parameters() + own_head) / 1e6) == millions


@pytest.mark.slow
def test_two_processes_share_a_training(tmp_path: Path) -> None:
    """accelerate on a CPU: both processes finish, one of them writes."""
    data = write(tmp_path / "pairs.csv")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    torchrun.append("--standalone")
    options = ["--pairs", str(data), "--out", str(tmp_path / "made"), "--shape", "tiny"]
    options += ["--vocabulary", "400", "--epochs", "1"]
    started = subprocess.Popen(
        [*torchrun, *COMMAND[1:], *options],
        env=ENVIRONMENT, start_new_session=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _, said = started.communicate(timeout=240)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # the workers too
    assert started.returncode == 0, said[-3000:]
    told = [json.loads(x) for x in (tmp_path / "made" / "training.jsonl").read_text().splitlines()]
    learnt = len(split(pairs(), 0.2, 0).teaching)
    assert max(row["step"] for row in told) == -(-learnt // 8)  # eight reports a step, not four
    open_language_model(tmp_path / "made", "cpu")


def invoke(*more: str) -> Any:
    return CliRunner().invoke(app, ["impressions", "train", "--cpu", *more])


def test_the_command_names_rows_that_it_cannot_use(flan: Path, tmp_path: Path) -> None:
    reports = [*rows(), rows()[0] | {"uid": "empty", "impression": ""}]
    data = write(tmp_path / "pairs.csv", reports)
    done = invoke(
        *("--pairs", str(data), "--out", str(tmp_path / "made"), "--start", str(flan)),
        *("--way", "lora", "--epochs", "1", "--batch", "8", "--longest-output", "16"),
    )
    assert done.exit_code == 0, done.output
    assert "impression is empty" in done.output
    assert (tmp_path / "made" / "adapter").is_dir()


def test_the_command_says_what_it_cannot_do(tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.csv")
    done = invoke("--pairs", str(data), "--out", str(tmp_path / "made"), "--template", "none")
    assert (done.exit_code, "needs {findings}" in done.output) == (1, True)


def test_the_command_converts(flan: Path, tmp_path: Path) -> None:
    told = ["impressions", "convert", str(flan), "--out", str(tmp_path / "int8")]
    assert CliRunner().invoke(app, told).exit_code == 0
    assert CliRunner().invoke(app, told).exit_code == 1  # it is there already
