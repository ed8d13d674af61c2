"""What a caller may ask of one generation: the sampling settings, checked once, at construction. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from specdec.errors import SpecDecError


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of one generation; the warpers act in the order penalty, temperature, top-k, top-p, as Hugging Face's
    do.

    temperature: ≥ 0; 0 is greedy decoding (the most likely token, ties to the lowest id).
    top_k: ≥ 0, keep the k most likely tokens; 0 keeps all. Ties with the k-th are kept.
    top_p: in (0, 1], keep the smallest set of most likely tokens whose mass reaches top_p; 1 keeps all.
    repetition_penalty: > 0 (CTRL, arXiv 1909.05858, section 4.1); 1 is off; prompt tokens count as seen.
    max_tokens: ≥ 1, the most new tokens; None leaves the model's context as the only bound.
    stop: strings that end the text; the text ends before the first of them.
    seed: of this row's own generator, in [0, 2^64); None draws one from the operating system. It fixes the text where a
    draft's length depends on the row alone. Where that follows from all rounds before (`logistic`) or from how many
    rows decode together (`specdec++` as it is tuned), it fixes the law alone.
    logprobs: report log p of every new token under the target *before* any warper, in nats.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False

    def __post_init__(self) -> None:
        rules = (
            (0.0 <= self.temperature < float("inf"), "temperature must be a finite number ≥ 0", self.temperature),
            (self.top_k >= 0, "top_k must be ≥ 0 (0 keeps all tokens)", self.top_k),
            (0.0 < self.top_p <= 1.0, "top_p must lie in (0, 1]", self.top_p),
            (0.0 < self.repetition_penalty < float("inf"), "repetition_penalty must be > 0", self.repetition_penalty),
            (self.max_tokens is None or self.max_tokens >= 1, "max_tokens must be ≥ 1 or None", self.max_tokens),
            (self.seed is None or 0 <= self.seed < 2**64, "seed must lie in [0, 2^64) or be None", self.seed),
            (not isinstance(self.stop, str), "stop must be a tuple of strings, not one string", self.stop),
            ("" not in self.stop, "stop must not hold an empty string", self.stop),
        )
        for holds, rule, value in rules:
            if not holds:
                raise SpecDecError(f"sampling: {rule}; got {value!r}")
