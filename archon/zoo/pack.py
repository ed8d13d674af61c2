"""The zoo's prompt pack: typed role inputs become structured messages, role texts become typed outputs.

No delimiters guard the candidates here, and none are needed: the encoder marks every part by a special token that no
text can spell (see `archon.zoo.encoding`), so an answer cannot close its own quotation.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from archon.errors import UnparseableError
from archon.protocols import (
    Critiques,
    Judgements,
    Preference,
    Ranking,
    Role,
    RoleInputs,
    RoleOutput,
    Tests,
    Verdict,
)
from archon.types import Message, UnitTest
from archon.zoo.encoding import to_messages

_CALL = re.compile(r"\w+\(.*\) == .+")
_ZOO_ROLES: Mapping[Role, str] = MappingProxyType({"generate": "solve"})


class ZooPack:
    """The `PromptPack` of the models in `archon.zoo`.

    Args:
        secret: not needed here; special tokens quote what a candidate says.
    """

    def __init__(self, secret: bytes = b"") -> None:
        del secret

    def render(self, role: Role, inputs: RoleInputs) -> list[Message]:
        """Messages whose system part names the role and whose user parts are the question and what belongs to it.

        A repair asks for the missed role anew: models this small learn nothing from their failed text.
        """
        if role == "repair":
            return self.render(inputs.wanted or "generate", inputs)
        parts = [_question(inputs)]
        for candidate in inputs.candidates if role != "generate" and role != "write_tests" else ():
            parts += ["candidate", candidate.text]
            if role in ("fuse", "rank") and candidate.critique:
                parts += ["critique", candidate.critique]
        if role == "verdict" and inputs.reasoning:
            parts = _bare(inputs) or [*parts, "reasoning", inputs.reasoning]
        if role == "judge_tests":
            parts += [part for test in inputs.tests for part in ("test", test.text)]
        return [Message.from_dict(raw) for raw in to_messages(_ZOO_ROLES.get(role, role), parts)]

    def parse(self, role: Role, text: str, inputs: RoleInputs) -> RoleOutput:
        """The typed output of a judging role; UnparseableError where the text is not of the role's form."""
        wanted = (inputs.wanted or role) if role == "repair" else role
        if wanted not in _PARSERS:
            raise UnparseableError(
                f"zoo pack: the output of role {wanted!r} is the text itself, there is nothing to parse"
            )
        output = _PARSERS[wanted](text, inputs)
        if output is None:
            raise UnparseableError(f"zoo pack: {_FORMS[wanted]} expected of role {wanted!r}, got {text[-60:]!r}")
        return output


def _question(inputs: RoleInputs) -> str:
    users = [message.text for message in inputs.conversation if message.role == "user"]
    if not users:
        raise UnparseableError("zoo pack: the conversation has no user message; add one that holds the question")
    return users[-1]


def _bare(inputs: RoleInputs) -> list[str] | None:
    """The verdict's prompt with the final answers alone, where candidate and reasoning state one.

    Whether two numbers are equal is all that is left to judge then, and models this small judge it far better so.
    """
    given, known = _stated(inputs.candidates[0].text if inputs.candidates else ""), _stated(inputs.reasoning or "")
    if given is None or known is None:
        return None
    return ["", "candidate", f"answer {given}", "reasoning", f"answer {known}"]


def _ranking(text: str, inputs: RoleInputs) -> Ranking | None:
    found = re.findall(r"order ([\d >]+)", text)
    order = dict.fromkeys(int(n) - 1 for n in re.findall(r"\d+", found[-1])) if found else {}
    known = [index for index in order if 0 <= index < len(inputs.candidates)]
    agreeing = _agreeing(text, inputs)
    if not any(agreeing):
        return Ranking(tuple(known)) if known else None
    rest = dict.fromkeys([*known, *range(len(agreeing))])
    return Ranking(tuple(sorted(rest, key=lambda index: not agreeing[index])))


def _preference(text: str, inputs: RoleInputs) -> Preference | None:
    agreeing = _agreeing(text, inputs)
    if len(agreeing) == 2 and agreeing[0] != agreeing[1]:
        return Preference(float(agreeing[0]))
    found = re.findall(r"better ([AB])\b", text)
    return Preference(1.0 if found[-1] == "A" else 0.0) if found else None


def _agreeing(text: str, inputs: RoleInputs) -> list[bool]:
    """Which candidates conclude what the judge's own working does.

    Judges work the problem first. Whether two numbers, or two functions, are equal is then no matter of opinion, and
    models this small err in it, so it is read off the working and not off the words that follow.
    """
    own = _conclusion(text.partition("\n")[0])
    return [own is not None and _conclusion(candidate.text) == own for candidate in inputs.candidates]


def _conclusion(text: str) -> str | None:
    """The answer, or the function, that a text states."""
    return _stated(text) or _function(text)


def _function(text: str) -> str | None:
    """The one-line function that a text is; None where it holds more, which would run as well."""
    return text.strip() if re.fullmatch(r"def .+: return .+", text.strip()) else None


def _stated(text: str) -> str | None:
    found = re.search(r"answer (\d+)$", text.strip())
    return found[1] if found else None


def _critiques(text: str, inputs: RoleInputs) -> Critiques | None:
    said = {int(n): words.strip() for n, words in re.findall(r"^(\d+) : (.+)$", text, re.MULTILINE)}
    texts = tuple(said.get(i) for i in range(1, len(inputs.candidates) + 1))
    return Critiques(texts) if any(texts) else None


def _verdict(text: str, inputs: RoleInputs) -> Verdict | None:
    said = text.split()[-1:]
    if said not in (["yes"], ["no"]):
        return None
    # Where candidate and reasoning both come to an answer, or a function, those are what counts, not what is said.
    given = _conclusion(inputs.candidates[0].text) if inputs.candidates else None
    known = _conclusion(inputs.reasoning or "")
    return Verdict(said == ["yes"] if given is None or known is None else given == known)


def _tests(text: str, inputs: RoleInputs) -> Tests | None:
    lines = [line.strip() for line in text.split("\n")[1:] if line.strip()]
    distinct = list(dict.fromkeys(lines))[: inputs.count]
    return Tests(tuple(map(_test, distinct))) if distinct else None


def _test(line: str) -> UnitTest:
    """A call and its result is a test to run; anything else one to judge."""
    return UnitTest(f"assert {line}", code=True) if _CALL.fullmatch(line) else UnitTest(line)


def _judgements(text: str, inputs: RoleInputs) -> Judgements | None:
    said = {int(n): word == "pass" for n, word in re.findall(r"(\d+) (pass|fail)\b", text)}
    passed = tuple(said.get(i) for i in range(1, len(inputs.tests) + 1))
    return Judgements(passed) if any(p is not None for p in passed) else None


_PARSERS: Mapping[Role, Callable[[str, RoleInputs], RoleOutput | None]] = MappingProxyType(
    {
        "rank": _ranking,
        "compare": _preference,
        "critique": _critiques,
        "verdict": _verdict,
        "write_tests": _tests,
        "judge_tests": _judgements,
    }
)
_FORMS: Mapping[Role, str] = MappingProxyType(
    {
        "rank": "a last line `order 2 > 1`",
        "compare": "a last line `better A`",
        "critique": "lines `1 : …`",
        "verdict": "`yes` or `no`",
        "write_tests": "the working, then a test a line",
        "judge_tests": "`1 pass ; 2 fail`",
    }
)
