"""Which draft and which acceptance head accelerate a local model: from its row in the table to checked folders.

Only small files are read here; nothing heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from archon.clients.local_loading import LocalOptions, find_folder, is_zoo
from archon.errors import ConfigError, UnknownNameError
from archon.models import ModelSpec

_ZOO = ("zoo/", "zoo:")
_SWITCHES = {"on": None, "true": None, "off": "off", "false": "off"}


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How a model is accelerated.

    Attributes:
        draft: folder of the model that drafts.
        head: folder of the acceptance head; None = a simple rule decides how far to draft.
        policy: a stop policy of `specdec`; None = the head's own, `logistic` without a head.
    """

    draft: Path
    head: Path | None
    policy: str | None

    def __str__(self) -> str:
        return f"{self.draft.name}, {self.policy or ('specdec++' if self.head else 'logistic')}"


def acceleration(spec: ModelSpec, options: LocalOptions) -> Acceleration | None:
    """How the model of a row is accelerated; None = not at all.

    Raises:
        ConfigError: draft or head is missing, they do not fit each other or the model, or the policy is unknown.
    """
    draft, head = _named(spec, options)
    policy = policy_named(options.speculation)
    if draft is None and (head is not None or policy not in (None, "off")):
        raise ConfigError(f"model {spec.id!r}: options: speculation needs a draft model; add `draft: FOLDER`")
    if draft is None or policy == "off":
        return None
    found = Acceleration(draft, head, policy)
    _check(spec, found)
    # A head's own rule is the one that it was tuned for, by its name too.
    return replace(found, policy=None) if policy == "specdec++" else found


def accelerated_by(spec: ModelSpec) -> str:
    """A few words for a table: draft and stop policy, "off", or nothing where the model has no draft."""
    from archon.clients.options import read_options

    if spec.client != "local":
        return ""
    options = read_options(spec, LocalOptions)
    if _named(spec, options)[0] is None:
        return ""
    return str(acceleration(spec, options) or "off")


def policy_named(speculation: bool | str) -> str | None:
    """A value of `speculation` as a policy: None for "on", else "off" or a policy's name."""
    text = str(speculation)
    return _SWITCHES.get(text.lower(), text)


def _named(spec: ModelSpec, options: LocalOptions) -> tuple[Path | None, Path | None]:
    """The folders of draft and head: those of the options, else those the zoo names for its own models."""
    if options.draft is not None or not is_zoo(spec):
        return _folder(spec, options.draft), Path(options.head).expanduser() if options.head else None
    from archon import zoo

    known = zoo.model(spec.upstream.removeprefix(_ZOO[1]))
    draft = zoo.path(known.draft) if known.draft else None
    if options.head is not None:
        return draft, Path(options.head).expanduser()
    return draft, zoo.path(known.name) / known.head if known.head else None


def _folder(spec: ModelSpec, name: str | None) -> Path | None:
    if name is None:
        return None
    for prefix in _ZOO:
        if name.startswith(prefix):
            from archon import zoo

            try:
                return zoo.path(name.removeprefix(prefix))
            except UnknownNameError as error:
                raise ConfigError(f"model {spec.id!r}: options.draft: {error}") from None
    return Path(name).expanduser()


def _check(spec: ModelSpec, found: Acceleration) -> None:
    from specdec.errors import SpecDecError
    from specdec.files import check_head, check_vocabulary
    from specdec.policies import make

    try:
        check_vocabulary(find_folder(spec), found.draft)
        if found.head is not None:
            check_head(found.head, found.draft)
        if found.policy is not None:
            needs = make(found.policy).needs
            if "head" in needs and found.head is None:
                raise SpecDecError(f"policy {found.policy} needs an acceptance head; add `head: FOLDER`")
    except SpecDecError as error:
        raise ConfigError(f"model {spec.id!r}: speculation: {error}; or set `speculation: off`") from None
