"""The model table: every model is named once, with how to reach it, what it costs and what it can take.

Keys are named by environment variable and read when a client is built; they are in no table, file or message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from archon.errors import ConfigError, UnknownNameError
from archon.typed_keys import refuse_typed_keys
from archon.types import Price, Sampling


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceSpec(_Strict):
    """US dollars per million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)


class Limits(_Strict):
    """What the model's provider allows. None = no limit."""

    in_flight: int | None = Field(default=None, ge=1)
    """Calls under way at once."""
    per_minute: int | None = Field(default=None, ge=1)
    """Calls started in any 60 seconds."""


class ModelSpec(_Strict):
    """One line of the model table."""

    id: str = Field(min_length=1)
    """Name used in architectures and spaces."""
    client: str = "openai"
    """openai, litellm, local, replay, fake, or a dotted path."""
    name: str | None = None
    """The provider's name for it; default: the id."""
    endpoint: str | None = None
    """Base URL of an OpenAI-compatible API, up to and including /v1."""
    key_env: str | None = None
    """Environment variable that holds the API key; None = no key is sent."""
    price: PriceSpec | None = None
    """None = litellm's price table where litellm is installed and knows the model, else unknown."""
    limits: Limits = Limits()
    pack: str = "english"
    """Prompt pack: english, zoo, or a dotted path."""
    context: int | None = Field(default=None, ge=1)
    """Context length in tokens; None = unknown, not checked."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Default bound on an answer's tokens, where a request sets none."""
    max_answer_chars: int = Field(default=200_000, ge=1)
    """A longer answer counts as a failed draw."""
    timeout: float = Field(default=300.0, gt=0)
    """Seconds for one attempt of one call."""
    retries: int = Field(default=4, ge=0)
    """Attempts after the first, on failures that may pass."""
    send_seed: bool = False
    """Whether an `openai` or `litellm` model is sent the draw's seed."""
    skills: tuple[str, ...] = ()
    """Free words for reports."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Client-specific settings: see the client's docstring."""

    @model_validator(mode="after")
    def _holds_no_key(self) -> Self:
        refuse_typed_keys(self.id, self.options)
        return self

    @property
    def upstream(self) -> str:
        """The provider's name for the model."""
        return self.name or self.id

    @property
    def known_price(self) -> Price | None:
        """The price stated in the table, None where none is."""
        return Price(self.price.prompt, self.price.completion) if self.price else None

    def sampling(self, wanted: Sampling) -> Sampling:
        """`wanted`, with this model's defaults where it is silent."""
        return wanted.over(Sampling(max_tokens=self.max_tokens))


class ModelTable(Mapping[str, ModelSpec]):
    """Model specs by id; looking up an unknown id raises an error that lists the known ones."""

    def __init__(self, specs: Iterable[ModelSpec] = ()) -> None:
        self._specs: dict[str, ModelSpec] = {}
        for spec in specs:
            if self._specs.setdefault(spec.id, spec) != spec:
                raise ConfigError(f"model table: {spec.id!r} is defined twice with different settings; keep one")

    def __getitem__(self, model: str) -> ModelSpec:
        if model not in self._specs:
            raise UnknownNameError("model", model, self._specs, "Add it to the model table or name a known one.")
        return self._specs[model]

    def __contains__(self, model: object) -> bool:
        return model in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def merged(self, other: ModelTable) -> ModelTable:
        """Both tables; `other` wins where both name a model."""
        return ModelTable({**self._specs, **other._specs}.values())

    def only(self, ids: Iterable[str]) -> ModelTable:
        """The rows of `ids`."""
        return ModelTable(self[model] for model in dict.fromkeys(ids))

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data for YAML, defaults left out; holds no secret because the table holds none."""
        return [spec.model_dump(mode="json", exclude_defaults=True) for spec in self._specs.values()]

    @classmethod
    def from_list(cls, rows: object, where: str = "models") -> ModelTable:
        """Reads a list of mappings. Raises ConfigError naming the row and the field."""
        if not isinstance(rows, list):
            raise ConfigError(f"{where}: a list of models is needed, got {type(rows).__name__}")
        return cls(_spec(row, f"{where}[{index}]") for index, row in enumerate(rows))

    @classmethod
    def load(cls, path: Path) -> ModelTable:
        """Reads `models:` of a YAML file (or a bare list)."""
        raw = read_yaml(path)
        rows = raw.get("models", []) if isinstance(raw, dict) else raw
        return cls.from_list(rows, f"{path}: models")


def _spec(row: object, where: str) -> ModelSpec:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: a mapping with at least `id` is needed, got {row!r}")
    try:
        return ModelSpec.model_validate(row)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{where}: {one_line(error)}") from None


def one_line(error: ValidationError) -> str:
    """A pydantic error as one line: each field's path with what is wrong, the given value left out of unknown keys."""
    parts = []
    for item in error.errors(include_url=False):
        path = ".".join(str(step) for step in item["loc"]) or "value"
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {path!r}")
        else:
            parts.append(f"{path}: {item['msg']}, got {item.get('input')!r:.80}")
    return "; ".join(parts)


def read_yaml(path: Path) -> Any:
    """The content of a YAML or JSON file. Raises ConfigError naming file, line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        spot = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}:{spot}: not valid YAML ({getattr(error, 'problem', error)})") from None
