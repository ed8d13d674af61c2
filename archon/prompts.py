"""The English prompt pack: how a role is put to an instruction-tuned model, and how its answer is read.

The words of a task come from the layer (`RoleInputs.template`, its default or the user's override); this file adds what
every prompt needs: untrusted text in quotation (archon.quoting), the notice that it is data, and the form in which the
answer must end, which archon.parsing reads.

A template is jinja2 and may use these values, plain text, already quoted where it comes from a user or a model:

    question    the conversation, quoted
    answers     the candidates: answer.label ("1", "2", …; A, B in compare), answer.quoted, answer.critique (or None)
    tests       test.number, test.quoted
    reasoning   the reasoning a verdict follows from, quoted (or None)
    count       tests to write, answers to keep (or None)
    options     further values of the layer

Where it goes: for `generate` and `fuse` it is a system message before the conversation, which follows whole (images,
tool calls, names); for the judging roles it is a user message, with the conversation's attachments behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from archon import parsing
from archon.assertions import assertions
from archon.errors import ConfigError, UnparseableError
from archon.protocols import Role, RoleInputs, RoleOutput
from archon.quoting import NOTICE, Quoter, attachments, spoken, transcript
from archon.types import Candidate, Message, assistant, system, user

_ANSWERING = frozenset({"generate", "fuse"})

_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "rank": "End with one line that lists the answers' numbers, best first, in this form:\nRANKING: 2 > 1 > 3",
        "compare": "End with one line in one of these forms:\nPREFERRED: A\nPREFERRED: B\nPREFERRED: TIE",
        "critique": (
            "Write one section for every answer, opened by a line of its own with the answer's number, in this form:\n"
            "CRITIQUE 1:\nStrengths: …\nWeaknesses: …\nCRITIQUE 2:\n…"
        ),
        "verdict": "End with one line in one of these forms:\nVERDICT: CORRECT\nVERDICT: INCORRECT",
        "write_tests": "End with the tests, one a line, in this form:\nTESTS:\n1. The answer …\n2. The answer …",
        "judge_tests": "End with one line for every test, PASS or FAIL, in this form:\nRESULTS:\n1: PASS\n2: FAIL",
    }
)

_ASSERTIONS_FORM = (
    "End with the tests in one block of Python, one assertion a line, in this form:\n"
    "```python\nassert name(2, 3) == 5\nassert name(0, 0) == 0\n```"
)

_PARSERS: Mapping[str, Callable[[str, RoleInputs], RoleOutput]] = MappingProxyType(
    {
        "rank": lambda text, inputs: parsing.ranking(text, len(inputs.candidates)),
        "compare": lambda text, inputs: parsing.preference(text),
        "critique": lambda text, inputs: parsing.critiques(text, len(inputs.candidates)),
        "verdict": lambda text, inputs: parsing.verdict(text),
        "write_tests": lambda text, inputs: (
            assertions(text, inputs.count) if _executable(inputs) else parsing.tests(text, inputs.count)
        ),
        "judge_tests": lambda text, inputs: parsing.judgements(text, len(inputs.tests)),
    }
)


class EnglishPack:
    """Prompts in English for instruction-tuned models. `secret` keys the quotation marks."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._environment = ImmutableSandboxedEnvironment(
            autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._compiled: dict[str, Template] = {}

    def render(self, role: Role, inputs: RoleInputs) -> list[Message]:
        """The messages of one call. Raises ConfigError when the template is broken."""
        if role == "repair":
            return self._repair(inputs)
        words = self._filled(role, inputs)
        if role in _ANSWERING:
            return _before(words, inputs)
        task = "\n\n".join(part for part in (words, _form(role, inputs)) if part)
        return [system(NOTICE), _with_attachments(task, inputs)]

    def parse(self, role: Role, text: str, inputs: RoleInputs) -> RoleOutput:
        """The typed output of a judging role, by the rules of archon.parsing. Raises UnparseableError."""
        asked = inputs.wanted if role == "repair" and inputs.wanted else role
        if asked not in _PARSERS:
            raise UnparseableError(f"an answer to {asked!r} has no form of its own; its text is the answer")
        return _PARSERS[asked](text, inputs)

    def _repair(self, inputs: RoleInputs) -> list[Message]:
        """The first prompt, the answer that missed its form, and the form again."""
        if inputs.wanted is None or inputs.failed is None:
            raise ConfigError("a repair needs the text that failed and the role whose form it missed")
        again = f"Your answer could not be read. Give it again.\n{_form(inputs.wanted, inputs)}".rstrip()
        return [*self.render(inputs.wanted, inputs), assistant(inputs.failed), user(again)]

    def _filled(self, role: Role, inputs: RoleInputs) -> str:
        """The template with its values."""
        if not inputs.template:
            return ""
        values = _values(Quoter.of(self._secret, role, inputs.conversation), role, inputs)
        try:
            return self._template(inputs.template).render(values).strip()
        except Exception as error:  # a user's template may fail in any way Python can
            raise ConfigError(f"the prompt template for {role!r} fails: {_told(error)}; mend the `prompt`") from None

    def _template(self, source: str) -> Template:
        if source not in self._compiled:
            self._compiled[source] = self._environment.from_string(source)
        return self._compiled[source]


def _form(role: Role, inputs: RoleInputs) -> str:
    """The form in which an answer must end; "" where its text is the answer."""
    return _ASSERTIONS_FORM if role == "write_tests" and _executable(inputs) else _FORMS.get(role, "")


def _executable(inputs: RoleInputs) -> bool:
    """Whether the tests asked for are Python assertions."""
    return inputs.options.get("kind") == "executable"


def _values(quoter: Quoter, role: Role, inputs: RoleInputs) -> dict[str, Any]:
    labels = [chr(ord("A") + index) if role == "compare" else str(index + 1) for index in range(len(inputs.candidates))]
    return {
        "question": quoter.quote("conversation", transcript(inputs.conversation)),
        "answers": [_shown(quoter, label, each) for label, each in zip(labels, inputs.candidates, strict=True)],
        "tests": [
            {"number": number, "quoted": quoter.quote(f"test-{number}", test.text)}
            for number, test in enumerate(inputs.tests, 1)
        ],
        "reasoning": None if inputs.reasoning is None else quoter.quote("reasoning", inputs.reasoning),
        "count": inputs.count,
        "options": dict(inputs.options),
    }


def _shown(quoter: Quoter, label: str, candidate: Candidate) -> dict[str, str | None]:
    critique = candidate.critique
    return {
        "label": label,
        "quoted": quoter.quote(f"answer-{label}", spoken(candidate.message)),
        "critique": None if critique is None else quoter.quote(f"critique-{label}", critique),
    }


def _before(words: str, inputs: RoleInputs) -> list[Message]:
    """The conversation whole, with the words as its system message, or in the one it has: some models take no two."""
    conversation = list(inputs.conversation)
    if not words:
        return conversation
    told = f"{words}\n\n{NOTICE}" if inputs.candidates else words
    if not (conversation and conversation[0].role == "system"):
        return [system(told), *conversation]
    first, *rest = conversation
    if isinstance(first.content, tuple):
        return [replace(first, content=(*first.content, {"type": "text", "text": told})), *rest]
    return [replace(first, content=f"{first.text}\n\n{told}"), *rest]


def _with_attachments(task: str, inputs: RoleInputs) -> Message:
    parts = attachments(inputs.conversation)
    return Message("user", ({"type": "text", "text": task}, *parts)) if parts else user(task)


def _told(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
