"""What is timed, on which core, and beside what."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_info
from tiny_bundle import tiny_images

from processors.bounded import DeviceLost
from processors.training import timing
from processors.training.files import write_checksums
from processors.training.timing import Sample, measured, one_core, summary, time_bundle


@pytest.fixture(scope="module")
def present(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle, with bands that call every film present."""
    folder = tmp_path_factory.mktemp("present") / "tiny"
    shutil.copytree(tiny_folder, folder)
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    for question in metadata["dictamen"]["questions"]:
        for answer in question["answers"]:
            answer |= {"band": [0.0, 0.0], "threshold": 0.0}
    file.write_text(json.dumps(metadata))
    write_checksums(folder)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four ill films of each age, and four healthy ones, to be judged."""
    folder, images = tmp_path_factory.mktemp("films"), tiny_images(16)
    with (folder / "films.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "split", "patient", "labels", "age"])
        for sample, pixels in zip(images.samples, images.inputs, strict=True):
            Image.fromarray(pixels).save(folder / sample.path)
            label = "pneumonia" if sample.targets[sample.group] == 0 else "normal"
            writer.writerow([sample.path, "val", sample.patient, label, sample.age])
    return folder / "films.csv"


def test_every_part_is_timed_beside_its_peer(present: Path, table: Path) -> None:
    found = time_bundle(str(present), [(table, table.parent)], present, rounds=4)
    assert (found["films"], found["longest_side"], found["size"]) == (8, 32, 32)
    for kind in ("fp32", "int8"):
        parts = found[kind]
        assert set(parts) == {"peer", "encoder", "answer", "decoder", "organ", "explanation"}
        for part in parts.values():
            assert part["p5"] <= part["median"] <= part["p95"]
        assert parts["explanation"]["median"] > parts["answer"]["median"] > 0
    json.dumps(found)


def test_batches_are_timed_by_their_number_of_images(present: Path, table: Path) -> None:
    found = time_bundle(str(present), [(table, table.parent)], rounds=4)
    assert (found["device"], set(found["batches"])) == ("cpu", {"encoder", "decoder"})
    for timed in found["batches"].values():
        assert set(timed) == {"1", "8", "32"}
        for count, one in timed.items():
            assert one["images_per_second"] == pytest.approx(
                1000 * int(count) / one["latency"], abs=0.06
            )
            assert one["p5"] <= one["latency"] <= one["p95"]
        assert timed["32"]["latency"] > timed["1"]["latency"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(present: Path, table: Path) -> None:
    with pytest.raises(DeviceLost, match="CUDA"):
        time_bundle(str(present), [(table, table.parent)], rounds=2, device="cuda")


@pytest.mark.parametrize(
    ("kind", "by", "names"),
    [
        pytest.param("fp32", "median", ["fp32 answer"], id="by the clock"),
        pytest.param("fp32", "cpu", [], id="without waiting"),
        pytest.param("int8", "cpu", ["int8 answer"], id="integers have a lower floor"),
    ],
)
def test_a_missed_floor_is_named(kind: str, by: str, names: list[str]) -> None:
    found = {"answer": {"median": 2.1, "cpu": 1.9}, "explanation": {"median": 120, "cpu": 90}}
    assert [line.split(":")[0] for line in timing.missed(kind, found, by)] == names


@pytest.mark.parametrize(
    ("split", "copy", "said"),
    [
        pytest.param("train", False, "no image of the split 'train'", id="no positives"),
        pytest.param("val", True, "is no copy of", id="other bands, another model"),
    ],
)
def test_what_cannot_be_timed(
    present: Path, tiny_folder: Path, table: Path, split: str, copy: bool, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        time_bundle(str(present), [(table, table.parent)], tiny_folder if copy else None, 2, split)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds threads")
def test_one_core_and_one_thread_and_back() -> None:
    allowed, threads = os.sched_getaffinity(0), [i["num_threads"] for i in threadpool_info()]
    with pytest.raises(RuntimeError, match="broken off"), one_core() as core:  # noqa: PT012
        assert os.sched_getaffinity(0) == {core} == {min(allowed)}
        assert {i["num_threads"] for i in threadpool_info()} == {1}
        raise RuntimeError("broken off")
    assert os.sched_getaffinity(0) == allowed
    assert [i["num_threads"] for i in threadpool_info()] == threads


def test_figures_of_a_summary() -> None:
    samples = [Sample(wall / 1000, 0.001) for wall in range(1, 102)]
    peers = [Sample(wall / 2000, 0) for wall in range(1, 102)]
    found = summary(samples, peers)
    assert found == {"median": 51, "p5": 6, "p95": 96, "cpu": 1, "of_peer": 2}


def test_variants_take_turns_and_waiting_is_not_work() -> None:
    calls: list[int] = []
    works = {"a": [lambda i=i: calls.append(i) for i in range(3)], "b": [lambda: time.sleep(0.02)]}
    found = measured(works, rounds=6)
    assert calls == [0, 1, 2] + [0, 1, 2] * 2  # warmed once, then in turn
    assert found["b"]["median"] >= 20 > 10 > found["b"]["cpu"]
    assert np.isfinite([v for part in found.values() for v in part.values()]).all()


def test_other_methods_are_timed_when_they_are_named(present: Path, table: Path) -> None:
    found = time_bundle(
        str(present), [(table, table.parent)], rounds=2, methods=("traversal", "gradcam")
    )
    assert set(found["methods"]) == {"peer", "traversal", "gradcam"}
    assert found["methods"]["gradcam"]["median"] > found["fp32"]["answer"]["median"]
    with pytest.raises(ValueError, match="unknown method 'saliency'"):
        time_bundle(str(present), [(table, table.parent)], methods=("saliency",))
