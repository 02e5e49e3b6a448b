"""What joint training costs: the same encoder and head, with and without the autoencoder.

Same images, seed and number of steps; the classifier alone has less to compute and is cheaper, so
its processor time stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from processors.training.studies.learning import Ground, Tell, answers, figure, gain, learn


def joint(here: Ground, seeds: Sequence[int], steps: int, tell: Tell) -> dict[str, Any]:
    """Per question: AUC of both, and joint minus alone with its interval, over all seeds."""
    both: dict[str, list[Any]] = {"joint": [], "alone": []}
    spent = {"joint": 0.0, "alone": 0.0}
    for seed in seeds:
        for kind, changes in (("joint", {}), ("alone", {"decoded": 0.0})):
            found = learn(here, {**changes, "steps": steps, "seed": seed}, tell, name=kind)
            both[kind].append(answers(here, found.model))
            spent[kind] += found.cpu_s
    questions: dict[str, Any] = {}
    for number, question in enumerate(here.plan.questions):
        ours, theirs = ([run[number] for run in both[k]] for k in ("joint", "alone"))
        questions[question.name] = {
            "n": len(ours[0].targets),
            "joint": [figure(one) for one in ours],
            "alone": [figure(one) for one in theirs],
            "joint_minus_alone": gain(ours, theirs),
        }
    return {"steps": steps, "seeds": list(seeds), "cpu_s": spent, "questions": questions}
