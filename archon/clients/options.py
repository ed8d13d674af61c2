"""Reads a model's `options` into a client's own settings, with one clear line where they are wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from archon.clients.defaults import FORM, TOKEN_BOUNDS
from archon.errors import ConfigError, UnknownNameError
from archon.models import ModelSpec, one_line


class Options(BaseModel):
    """Base of a client's settings: unknown keys are errors, nothing changes after building."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=Options)


def read_options(spec: ModelSpec, settings: type[Settings]) -> Settings:
    """The model's options as `settings`.

    Raises:
        ConfigError: an unknown key (lists the known ones) or a wrong value, naming model and key.
    """
    for key in spec.options:
        if key not in settings.model_fields:
            unknown = UnknownNameError("option", key, settings.model_fields)
            raise ConfigError(f"model {spec.id!r}: {unknown}") from None
    try:
        return settings.model_validate(spec.options)
    except ValidationError as error:
        raise ConfigError(f"model {spec.id!r}: options: {one_line(error)}") from None


def check_passed_on(spec: ModelSpec, option: str, fields: Iterable[str]) -> None:
    """Raises ConfigError where a row's option passes on a field that is the request's, or that no budget would see."""
    for name in fields:
        if name in FORM or name in TOKEN_BOUNDS:
            remedy = "use the row's `max_tokens`" if name in TOKEN_BOUNDS else "each request has its own"
            raise ConfigError(f"model {spec.id!r}: options.{option} may not set {name!r}: {remedy}")


def read_key(spec: ModelSpec) -> str | None:
    """The API key from the environment variable the model names; None where it names none.

    Raises:
        ConfigError: the variable is unset or empty, or holds characters no header may.
    """
    if spec.key_env is None:
        return None
    if not spec.key_env.isidentifier():  # not repeated: it may be the key itself
        raise ConfigError(f"model {spec.id!r}: key_env must be the name of an environment variable, not a key")
    key = os.environ.get(spec.key_env, "").strip()
    if not key:
        raise ConfigError(
            f"model {spec.id!r}: environment variable {spec.key_env} is not set; export the API key in it"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"model {spec.id!r}: environment variable {spec.key_env} holds characters no API key has")
    return key


def load_object(path: str, where: str) -> Any:
    """What a dotted path "package.module:name" names. Raises ConfigError when it cannot be imported."""
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: {path!r} cannot be imported ({error}); give 'package.module:name'") from None
