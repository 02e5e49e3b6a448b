"""A bundle in integers: still a bundle, still the same answers, or not written at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tiny_bundle import tiny_images

from processors.runtime import Bundle, open_bundle, read_verified
from processors.training import export, export_command
from processors.training.export import LEAST_IMAGES, LEAST_OTHERS, Change, compare, export_bundle

KNOWN = list(tiny_images(LEAST_IMAGES, seed=1).inputs)
OTHERS = tiny_images(LEAST_OTHERS + 10, seed=2)
SAME = Change(100, 0.2, 0.02, 1.0, 0, 0.001, {"children/pneumonia": (0.9, 0.895)})


@pytest.fixture(scope="module")
def int8(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    target = tmp_path_factory.mktemp("export") / "int8"
    others = list(OTHERS.inputs)
    return target, export_bundle(str(tiny_folder), target, KNOWN, True, others, OTHERS.targets)


def test_the_copy_opens_and_says_what_it_is(tiny_folder: Path, int8: tuple[Path, dict]) -> None:
    target, found = int8
    before, after = open_bundle(str(tiny_folder), "cpu"), open_bundle(str(target), "cpu")
    assert after.algorithm.version == f"{before.algorithm.version}+int8"
    assert after.algorithm.sha256 != before.algorithm.sha256
    assert after.card["int8"] == found["change"]
    assert after.card["questions"] == before.card["questions"]
    changed = {"models/encoder.onnx", "models/decoder.onnx", "configs/metadata.json"}
    old, new = read_verified(str(tiny_folder))[1], read_verified(str(target))[1]
    assert {name for name in old if old[name] != new[name]} == changed
    assert set(found["change"]["auc"]) == {"children/pneumonia", "adults/pneumonia"}


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_weights_are_seven_bits_but_for_the_ends(int8: tuple[Path, dict], name: str) -> None:
    """Eight bits overflow on processors without VNNI, which a test on one with it cannot see."""
    graph = onnx.load(str(int8[0] / "models" / f"{name}.onnx")).graph
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    kernels = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    whole = [k for k in kernels if k in weights]
    assert whole == [kernels[0], kernels[-1]]
    for kernel in kernels[1:-1]:
        stored = weights[made[kernel].input[0]]
        assert stored.dtype == np.int8
        assert 32 < np.abs(stored.astype(int)).max() <= 64
        assert weights[made[kernel].input[1]].shape == (stored.shape[0],)


def test_the_copy_answers_alike_but_not_by_the_same_numbers(
    tiny_folder: Path, int8: tuple[Path, dict]
) -> None:
    before, after = open_bundle(str(tiny_folder), "cpu"), open_bundle(str(int8[0]), "cpu")
    inputs = OTHERS.inputs[:4].astype(np.float32) / 255
    gap = np.abs(after.encode(inputs) - before.encode(inputs))
    assert 0 < gap.mean() < 0.05


def test_out_of_the_weights_once_more(tiny_folder: Path, tmp_path: Path) -> None:
    found = export_bundle(
        str(tiny_folder), tmp_path / "fp32", [], False, list(OTHERS.inputs), OTHERS.targets
    )
    assert found["change"]["log_odds"]["largest"] < 1e-3
    assert found["change"]["same_state"] == 1
    after = open_bundle(str(tmp_path / "fp32"), "cpu")
    assert after.algorithm.version == open_bundle(str(tiny_folder), "cpu").algorithm.version


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({}, "", id="hardly anything"),
        pytest.param({"largest": 3.0}, "", id="one image alone, far from the band"),
        pytest.param({"mean": 0.11}, "log-odds move by 0.110", id="all a little"),
        pytest.param({"same": 0.97}, "0.970 of the states stay", id="too many states"),
        pytest.param({"crossed": 1}, "1 answers cross", id="present is absent"),
        pytest.param({"auc": {"a": (0.9, 0.88)}}, "a loses 0.020", id="less is found"),
        pytest.param({"auc": {"a": (0.88, 0.9)}}, "", id="more is found"),
    ],
)
def test_what_is_refused(changed: dict, said: str) -> None:
    refused = replace(SAME, **changed).refused
    assert said in refused
    assert bool(refused) is bool(said)


def test_a_copy_with_other_answers_is_not_written(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges learnt from black images fit no film."""
    black = [np.full((32, 32), i / 1e6, np.float32) for i in range(LEAST_IMAGES)]
    with pytest.raises(ValueError, match=r"was not written: .*log_odds"):
        export_bundle(str(tiny_folder), tmp_path / "int8", black, True, list(OTHERS.inputs))
    assert list(tmp_path.iterdir()) == []


def _bright(images: list[np.ndarray]) -> list[np.ndarray]:
    return [images[0].astype(np.float32), *images[1:]]


@pytest.mark.parametrize(
    ("known", "others", "said"),
    [
        pytest.param(lambda k: k[:-1], lambda o: o, "119 images to learn", id="few"),
        pytest.param(lambda k: k, lambda o: o[:5], "5 images to compare", id="few others"),
        pytest.param(lambda k: k, lambda o: [*o, o[0][:16]], "an image is", id="another size"),
        pytest.param(_bright, lambda o: o, "outside 0..1", id="0..255 as floats"),
        pytest.param(lambda k: k, lambda o: [*o, KNOWN[3]], "both learnt", id="the same image"),
    ],
)
def test_images_that_do_not_do(
    tiny_folder: Path, tmp_path: Path, known: Callable, others: Callable, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        export_bundle(
            str(tiny_folder), tmp_path / "int8", known(KNOWN), True, others(list(OTHERS.inputs))
        )


def test_nothing_is_overwritten(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exists"):
        export_bundle(str(tiny_folder), tmp_path, KNOWN, True, list(OTHERS.inputs))


def _with_offset(bundle: Bundle, by: float) -> Bundle:
    """The same network whose first answer's log-odds are shifted."""
    card = json.loads(json.dumps(bundle.card))
    card["questions"][0]["answers"][0]["offset"] += by
    return replace(bundle, metadata={**bundle.metadata, "dictamen": card})


@pytest.mark.parametrize("by", [0.0, 0.5, -20.0])
def test_a_known_change_is_measured(tiny_folder: Path, by: float) -> None:
    bundle = open_bundle(str(tiny_folder), "cpu")
    inputs = OTHERS.inputs.astype(np.float32) / 255
    change = compare(bundle, _with_offset(bundle, by), inputs, OTHERS.targets)
    assert change.largest == pytest.approx(abs(by), abs=1e-4)
    assert change.mean == pytest.approx(abs(by) / 2, abs=1e-4)  # one answer of two
    assert change.grey == 0
    before, after = change.auc["children/pneumonia"]
    assert before == pytest.approx(after, abs=1e-6)  # a shift leaves the order
    present = export._states(bundle.card, export._log_odds(bundle, inputs)[0])[:, 0] == 2
    assert change.crossed == (present.sum() if by == -20 else 0)


@pytest.mark.parametrize(
    ("int8", "known"),
    [pytest.param(True, 130, id="integers"), pytest.param(False, 0, id="from the weights")],
)
def test_images_out_of_tables(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, int8: bool, known: int
) -> None:
    """Of `val` all but the one that is an image of `train` too, with its own target."""
    images = tiny_images(160)
    with (tmp_path / "films.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "patient", "labels", "age"])
        for i, (sample, pixels) in enumerate(zip(images.samples, images.inputs, strict=True)):
            Image.fromarray(images.inputs[1] if i == 131 else pixels).save(tmp_path / sample.path)
            label = "pneumonia" if i % 2 else "normal" if sample.group == 0 else "no_finding"
            split = "train" if i < 130 else "val"
            writer.writerow([sample.path, split, sample.patient, label, sample.age])
    given: dict = {}
    monkeypatch.setattr(export_command, "export_bundle", lambda *all_: given.update(a=all_) or {})
    sources = [(tmp_path / "films.csv", tmp_path)]
    export_command.export_from_tables(
        str(tiny_folder), tmp_path / "out", sources, int8, "val", 1000
    )
    _, _, learnt, asked, others, targets = given["a"]
    assert (len(learnt), asked, len(others)) == (known, int8, 29 if int8 else 30)
    bright = np.array([o[10:22, 8:16].mean() > o.mean() + 20 for o in others])
    np.testing.assert_array_equal(bright, (targets == 0).any(1))
