"""Whether an architecture can honour a request, decided before any call: what it cannot is refused with the reason."""

from __future__ import annotations

from collections.abc import Sized

from archon.clients.stack import ClientStack
from archon.proxy.architectures import Served
from archon.proxy.ask import Ask
from archon.proxy.errors import ApiError, invalid
from archon.proxy.settings import Settings
from archon.quoting import attachments

_API_FIELDS = ("reasoning_effort", "verbosity", "parallel_tool_calls")
_BEHIND_AN_API = ("openai", "litellm")


def check(ask: Ask, served: Served, stack: ClientStack, settings: Settings) -> None:
    """Raises ApiError 400 naming the first field that cannot be honoured."""
    check_size(ask.messages, ask.n, settings)
    _attachments(ask, served, stack)
    _tools(ask, served, stack)
    _logprobs(ask, served, stack)
    _settings(ask, served, stack)
    if ask.archon.max_usd is not None:
        _prices(served, stack)


def check_size(messages: object, n: object, settings: Settings) -> None:
    """Raises ApiError 400 where a request holds more messages, or asks for more answers, than are taken."""
    if isinstance(messages, Sized) and len(messages) > settings.max_messages:
        raise invalid(f"messages: at most {settings.max_messages} are taken, got {len(messages)}", "messages")
    if isinstance(n, int) and n > settings.max_n:
        raise invalid(f"n: at most {settings.max_n} answers a request, got {n}", "n", "invalid_value")


def _attachments(ask: Ask, served: Served, stack: ClientStack) -> None:
    """Images and files: a local model reads text, and a pack of role tokens writes text alone."""
    if not attachments(ask.messages):
        return
    for model in served.graph.architecture.model_ids:
        spec = stack.spec(model)
        if spec.client in ("local", "replay") or spec.pack == "zoo":
            raise _cannot("messages", f"model {model!r} of {served.id!r} reads text only")


def _tools(ask: Ask, served: Served, stack: ClientStack) -> None:
    for model in served.answering if ask.tools else ():
        if "tools" not in stack.transport(model).capabilities:
            raise _cannot("tools", f"model {model!r} of {served.id!r} cannot call tools")


def _logprobs(ask: Ask, served: Served, stack: ClientStack) -> None:
    if not ask.final.logprobs:
        return
    output = served.graph.architecture.output
    if output not in served.writers:
        name = served.graph.node(output).name
        raise _cannot("logprobs", f"the last node of {served.id!r} ({name}) chooses an answer and writes none")
    for model in served.final:
        if "logprobs" not in stack.transport(model).capabilities:
            raise _cannot("logprobs", f"model {model!r}, which writes the answer, gives no log-probabilities")


def _settings(ask: Ask, served: Served, stack: ClientStack) -> None:
    """What only models behind an API can take."""
    wanted = [name for name in _API_FIELDS if name in ask.final.extra]
    wanted += [name for name in ("frequency_penalty", "presence_penalty") if getattr(ask.final, name)]
    wanted += ["response_format"] if ask.response_format else []
    for model in served.final:
        client = stack.spec(model).client
        if (wanted and client in ("local", "replay")) or (
            set(wanted) & set(_API_FIELDS) and client not in _BEHIND_AN_API
        ):
            raise _cannot(wanted[0], f"model {model!r}, which writes the answer, cannot obey it (client {client!r})")


def _prices(served: Served, stack: ClientStack) -> None:
    for model in served.graph.architecture.model_ids:
        if stack.price(model) is None:
            raise invalid(f"archon.max_usd: the price of model {model!r} is unknown, so no bound can hold", "archon")


def _cannot(field: str, reason: str) -> ApiError:
    return invalid(f"{field}: {reason}", field, "unsupported_parameter")
