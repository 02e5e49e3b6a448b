"""What a bundle costs on one core or on a GPU: the answer, the decoder, an explanation, batches.

In: a bundle, perhaps its 8-bit copy, labelled images. Out: milliseconds (median, 5th and 95th
percentile), the share of them that the core worked for us, each beside a fixed product of matrices
measured in the same round, and which floors of one core are missed; images a second by batch. A
machine that others use is slow and uneven: there the ratio to the product (`of_peer`) and `cpu` say
more than the clock does.
Never: what reading, decoding or the gate cost; a judgement of the answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from processors.explain import METHODS, require
from processors.explain.regions import evidence_map
from processors.explain.subject import Film, Subject, organ_of, read_film
from processors.explain.traversal import explain
from processors.runtime import Bundle, open_bundle
from processors.training.data import read_images, read_table
from processors.training.evaluate import answers
from processors.training.explained import subject_of
from processors.training.plan import questions_of
from processors.vae.latent import Array, Row, evidence, probability

Sources = Sequence[tuple[Path, Path]]
Work = Callable[[], object]
_Positive = tuple[tuple[int, int], Film]  # (question, answer) and the image that has it
PEER = 512  # rows and columns of the two float32 matrices whose product is the measure
WARM = 3  # calls before anything is counted
BATCHES = (1, 8, 32)
FILMS = 12  # of each answer, explained in turn
FEW = 3  # measurements of another method, some of which take seconds
FLOORS = {  # ms on one core
    "fp32": {"answer": 2.0, "explanation": 120.0},
    "int8": {"answer": 1.0, "explanation": 120.0},
}


@contextmanager
def one_core(core: int | None = None) -> Iterator[int | None]:
    """Keeps this thread on one core (default: the first it may use) and BLAS to one thread.

    What was allowed before is allowed again afterwards. Where the system cannot bind a thread (only
    Linux can), one thread is all that is promised, and None is given.
    """
    with threadpool_limits(1):
        if not hasattr(os, "sched_setaffinity"):
            yield None
            return
        allowed = os.sched_getaffinity(0)
        chosen = min(allowed) if core is None else core
        if chosen not in allowed:
            there = ", ".join(map(str, sorted(allowed)))
            raise ValueError(f"core {chosen} is none of those this process may use: {there}")
        os.sched_setaffinity(0, {chosen})
        try:
            yield chosen
        finally:
            os.sched_setaffinity(0, allowed)


@dataclass(frozen=True, slots=True)
class Sample:
    """One call: seconds by the clock, and seconds in which the core worked for this thread."""

    wall: float
    cpu: float


def _once(work: Work) -> Sample:
    begin, used = time.perf_counter(), time.thread_time()
    work()
    return Sample(time.perf_counter() - begin, time.thread_time() - used)


def summary(samples: Sequence[Sample], peers: Sequence[Sample]) -> dict[str, float]:
    """median, p5, p95 and cpu (median) in ms; of_peer: median ratio to the peer of its round."""
    wall = 1000 * np.array([s.wall for s in samples])
    low, middle, high = np.percentile(wall, [5, 50, 95])
    ratio = np.median([s.wall / p.wall for s, p in zip(samples, peers, strict=True)])
    cpu = 1000 * np.median([s.cpu for s in samples])
    found = {"median": middle, "p5": low, "p95": high, "cpu": cpu, "of_peer": ratio}
    return {name: round(float(value), 3) for name, value in found.items()}


def measured(works: Mapping[str, Sequence[Work]], rounds: int) -> dict[str, dict[str, float]]:
    """Each work once a round, one of its variants after the other, with the peer before each.

    Interleaved, so that a neighbour's burst meets all of them. "peer" is one more key of the
    result.
    """
    matrix = np.random.default_rng(0).random((PEER, PEER), dtype=np.float32)
    variants = {name: cycle(each) for name, each in works.items()}
    for name, turn in variants.items():
        for work in islice(turn, min(WARM, len(works[name]))):
            work()
    samples: dict[str, list[Sample]] = {name: [] for name in works}
    peers: dict[str, list[Sample]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, turn in variants.items():
            peers[name].append(_once(lambda: matrix @ matrix))
            samples[name].append(_once(next(turn)))
    every = [peer for found in peers.values() for peer in found]
    found = {name: summary(samples[name], peers[name]) for name in works}
    return {"peer": summary(every, every), **found}


def _positives(bundle: Bundle, sources: Sources, split: str) -> Iterator[_Positive]:
    """Of each answer at most FILMS images that have it and are called present."""
    questions = questions_of(bundle.card["questions"])
    for q, k, _ in answers(bundle.card):
        count, row = 0, bundle.row(q, k)
        high = bundle.card["questions"][q]["answers"][k]["band"][1]
        for table, images in sources:
            ill = [
                s for s in read_table(table, questions) if s.split == split and s.targets[q] == k
            ]
            for sample, pixels in zip(ill, read_images(images, [s.path for s in ill]), strict=True):
                if count == FILMS:
                    break
                film = read_film(sample.path, pixels, bundle)
                if probability(film.latent, row) >= high:
                    count += 1
                    yield (q, k), film


def _again(film: Film, bundle: Bundle) -> Film:
    """The same film as another bundle's encoder sees it."""
    latent = bundle.encode(film.network[None])[0]
    return Film(film.instance_uid, film.picture, film.greys, film.network, latent)


def _explanation(subject: Subject) -> None:
    """Strip, difference, checks, and the map that says where the evidence lies."""
    explain(subject, "en")
    evidence_map(evidence(subject.film.latent, subject.row))


def _answer(bundle: Bundle, rows: Sequence[Row], film: Film) -> None:
    latent = bundle.encode(film.network[None])[0]
    for row in rows:
        probability(latent, row)


def _works(bundle: Bundle, positives: Sequence[_Positive]) -> dict[str, list[Work]]:
    rows = [bundle.row(q, k) for q, k, _ in answers(bundle.card)]
    films = [(place, _again(film, bundle)) for place, film in positives]
    subjects = [subject_of(bundle, film, place) for place, film in films]

    card = bundle.card
    return {
        "encoder": [partial(bundle.encode, film.network[None]) for _, film in films],
        "answer": [partial(_answer, bundle, rows, film) for _, film in films],
        "decoder": [partial(bundle.decode, film.latent[None]) for _, film in films],
        "organ": [partial(organ_of, film, str(card["field"])) for _, film in films],
        "explanation": [partial(_explanation, subject) for subject in subjects],
    }


def _ways(
    bundle: Bundle, positives: Sequence[_Positive], methods: Sequence[str]
) -> dict[str, list[Work]]:
    """The whole explanation of one finding by each method: maps by all settings, and checks."""
    subjects = [subject_of(bundle, film, place) for place, film in positives[:FEW]]
    return {name: [partial(METHODS[name].explain, s, "en") for s in subjects] for name in methods}


def batches(bundle: Bundle, inputs: Array, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Encoder and decoder by number of images in one pass, inputs (n, size, size) in turn.

    latency (median), p5, p95: ms of a pass; images_per_second; cpu: ms of this thread an image.
    """
    passes = {"encoder": (bundle.encode, inputs), "decoder": (bundle.decode, bundle.encode(inputs))}
    works = {
        (name, count): [partial(work, np.resize(values, (count, *values.shape[1:])))]
        for name, (work, values) in passes.items()
        for count in BATCHES
    }
    timed = measured({f"{name} {count}": work for (name, count), work in works.items()}, rounds)
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in passes}
    for name, count in works:
        one = timed[f"{name} {count}"]
        found[name][str(count)] = {
            "latency": one["median"],
            "p5": one["p5"],
            "p95": one["p95"],
            "images_per_second": round(1000 * count / one["median"], 1),
            "cpu": round(one["cpu"] / count, 3),
        }
    return found


def missed(kind: str, found: Mapping[str, Mapping[str, float]], by: str) -> list[str]:
    """Floors of `kind` (a key of FLOORS) that a figure `by` (a key of a summary) is above."""
    return [
        f"{kind} {name}: {found[name][by]:.2f} ms, floor {floor:g}"
        for name, floor in FLOORS[kind].items()
        if found[name][by] > floor
    ]


def _mixed(positives: Iterable[_Positive]) -> list[_Positive]:
    """Answers in turn, so that few rounds meet all of them."""
    groups: dict[tuple[int, int], list[_Positive]] = {}
    for one in positives:
        groups.setdefault(one[0], []).append(one)
    return [one for turn in zip_longest(*groups.values()) for one in turn if one is not None]


def time_bundle(
    path_or_name: str,
    sources: Sources,
    int8: Path | None = None,
    rounds: int = 60,
    split: str = "val",
    core: int | None = None,
    methods: Sequence[str] = (),
    device: str = "cpu",
) -> dict[str, Any]:
    """Milliseconds per image of batch 1, and what batches give, for JSON.

    Args: sources: (table, images) pairs, of which rows of `split` that have a finding are used.
    int8: the bundle's copy by `processors.training.export`. core: the processor's core, default the
    first allowed one. methods: of explanation, beside the strip, each measured FEW times. device:
    cpu (one core) or cuda.
    Returns "batches": see `batches`; "fp32" (and "int8"): a `summary` per work (encoder; answer:
    encoder and head; decoder; organ: its outline, once an image; explanation: strip, maps and
    checks) and of the peer; "methods": the same of each method; "missed": floors that the median by
    the clock is above; "missed_by_cpu": those that are missed even without the waiting for other
    programs; on a GPU there are no floors.
    Raises: ValueError where no image is called what it is labelled, int8 is of another model or
    asked of a GPU, or a method is unknown; MethodNotInstalled; ProcessorError where the bundle or
    the device cannot be used.
    """
    if unknown := sorted(set(methods) - set(METHODS)):
        raise ValueError(f"unknown method {unknown[0]!r}; known: {', '.join(METHODS)}")
    require(METHODS, methods)
    bundles = {"fp32": open_bundle(path_or_name, device, threads=1)}
    if int8 is not None and device != "cpu":
        raise ValueError("the copy in 8-bit integers runs on the CPU alone")
    if int8 is not None:
        bundles["int8"] = open_bundle(str(int8), "cpu", threads=1)
        if bundles["int8"].card["questions"] != bundles["fp32"].card["questions"]:
            raise ValueError(f"{int8} is no copy of {path_or_name}: its questions are others")
    positives = _mixed(_positives(bundles["fp32"], sources, split))
    if not positives:
        raise ValueError(f"no image of the split {split!r} is called what it is labelled")
    shapes = sorted({film.picture.shape for _, film in positives})
    found: dict[str, Any] = {
        "bundle": bundles["fp32"].metadata["name"],
        "size": bundles["fp32"].size,
        "films": len(positives),
        "longest_side": max(max(shape) for shape in shapes),
        "rounds": rounds,
        "device": device,
    }
    inputs = np.stack([film.network for _, film in positives])
    with one_core(core) as chosen:
        found["core"] = chosen
        found["batches"] = batches(bundles["fp32"], inputs, max(2, rounds // 4))
        for kind, bundle in bundles.items():
            found[kind] = measured(_works(bundle, positives), rounds)
        if methods:
            found["methods"] = measured(_ways(bundles["fp32"], positives, methods), FEW)
    for name, by in (("missed", "median"), ("missed_by_cpu", "cpu")):
        lines = [line for kind in bundles for line in missed(kind, found[kind], by)]
        found[name] = lines if device == "cpu" else []
    return found
