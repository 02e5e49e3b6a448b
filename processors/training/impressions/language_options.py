"""How a language model is taught, as a person chose it, and whether it makes sense.

In: options. Out: a frozen Teaching; the record that a folder keeps of it. Pure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from processors.impressions.prompts import Asking, LanguageModelError

Way = Literal["scratch", "full", "lora"]

# T5 v1.1's shapes (Raffel et al., JMLR 2020; google-research, t5x): width, feed-forward, layers of
# each half, heads of width 64. Parameters with FLAN-T5's 32,128 tokens: 77 M, 248 M, 783 M, 2.85 B.
SHAPES = {
    "tiny": (64, 128, 2, 2),
    "mini": (256, 512, 4, 4),
    "small": (512, 1024, 8, 6),
    "base": (768, 2048, 12, 12),
    "large": (1024, 2816, 24, 16),
    "xl": (2048, 5120, 24, 32),
}


@dataclass(frozen=True, slots=True)
class Teaching:
    """way: a new network, all weights of a given one, or adapters beside them (LoRA; Hu et al.,
    ICLR 2022). shape, vocabulary: of a new network. validation: share of the near-duplicate groups
    that only choose. rate: of learning, 0 takes the way's usual one. every: steps from one
    validation and checkpoint to the next, 0 for once an epoch. patience: validations without
    better ROUGE before it stops. batch: reports a step and process; pieces: parts that it is
    computed in. judged: validation reports that ROUGE is measured on, at most.

    Raises LanguageModelError for what makes no sense.
    """

    way: Way
    epochs: float = 3
    validation: float = 0.05
    batch: int = 8
    pieces: int = 1
    rate: float = 0
    every: int = 0
    patience: int = 3
    judged: int = 500
    seed: int = 0
    shape: str = "small"
    vocabulary: int = 8000
    rank: int = 16
    asking: Asking = field(default_factory=Asking)

    def __post_init__(self) -> None:
        wrong = {
            f"the way {self.way!r} is none of {', '.join(get_args(Way))}": self.way
            not in get_args(Way),
            f"the shape {self.shape!r} is none of {', '.join(SHAPES)}": self.shape not in SHAPES,
            "epochs must be above 0": self.epochs <= 0,
            "the validation share must lie between 0 and 0.5": not 0 < self.validation <= 0.5,
            "batch, patience, judged and rank must be at least 1": min(
                self.batch, self.patience, self.judged, self.rank
            )
            < 1,
            "the pieces of a batch must divide it": self.pieces < 1 or self.batch % self.pieces,
            "the rate, and the steps between checkpoints, cannot be negative": self.rate < 0
            or self.every < 0,
            "a vocabulary holds 256 tokens or more": self.vocabulary < 256,
        }
        if said := [what for what, holds in wrong.items() if holds]:
            raise LanguageModelError(f"It cannot be taught so: {'; '.join(said)}.")

    @property
    def learning_rate(self) -> float:
        """1e-4 for all weights of a given network (as FLAN-T5 is usually tuned), more for new
        ones and for adapters, which are few."""
        return self.rate or {"full": 1e-4, "scratch": 5e-4, "lora": 1e-3}[self.way]

    def record(self) -> dict[str, Any]:
        """Plain values, for the folder and for a later run to compare."""
        return asdict(self) | {"rate": self.learning_rate}
