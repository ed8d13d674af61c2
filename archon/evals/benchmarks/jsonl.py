"""`jsonl`: any file with a question and an answer on every line.

A line is an object with a question (`question_field`), or a whole conversation in OpenAI form (`messages`), and the
expected answer (`answer_field`). A `split` field on every line ("search", "selection", "held_out") deals the questions
by hand; without it they are dealt by hash. Other fields are kept beside the question and never shown to a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS, FileOptions, QuestionSet, question_id, read_options
from archon.evals.benchmarks.records import Record, read_records
from archon.evals.benchmarks.splits import cut, deal
from archon.evals.scorers import scorer_for
from archon.numerals import NUMERAL, canonical, clean
from archon.types import Message, Question, Split, stable_hash, user

HINT = "the path of a JSONL file with one question and its answer a line"
USUAL: Mapping[Split, int | None] = MappingProxyType({"search": None, "selection": None, "held_out": None})

Answers = Literal["auto", "number", "math", "choice", "text"]


class JsonlOptions(FileOptions):
    """Options of `jsonl`."""

    question_field: str = "question"
    """Field that holds the question."""
    answer_field: str = "answer"
    """Field that holds the reference answer."""
    answers: Answers = "auto"
    """What the answers are, which decides how they are read and compared; auto = number where every reference is one
    number, choice where every one is a letter A–E, else text."""


class Jsonl(QuestionSet):
    """The benchmark `jsonl`."""

    options: ClassVar[type[JsonlOptions]] = JsonlOptions

    @classmethod
    def load(cls, **options: Any) -> Jsonl:
        """Reads the file. Options: see `JsonlOptions`.

        Raises:
            ConfigError: a wrong option, or a file that cannot be read as questions; names the line.
        """
        chosen = read_options(JsonlOptions, "jsonl", options, HINT)
        records = read_records(chosen.path)
        questions = distinct(records, lambda record: _question(record, chosen), _words)
        dealt = _by_field(records, questions) or deal(questions, chosen.seed)
        splits = cut(dealt, chosen.sizes(USUAL), chosen.explicit(), str(chosen.path))
        kind = _kind(questions) if chosen.answers == "auto" else chosen.answers
        return cls(name="jsonl", extractor=kind, scorer=scorer_for(kind), splits=splits, source=str(chosen.path))


def distinct(
    records: Sequence[Record],
    make: Callable[[Record], Question],
    key: Callable[[Question], str] = lambda question: question.id,
) -> list[Question]:
    """A question a record, in order. Raises ConfigError where two are the same, which is where `key` is equal."""
    first: dict[str, str] = {}
    questions = []
    for record in records:
        question = make(record)
        known = first.setdefault(key(question), record.where)
        if known != record.where:
            raise ConfigError(f"{record.where}: the same question as {known}; remove one of them")
        questions.append(question)
    return questions


def instructed(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """The conversation with `instruction` as a last paragraph of its last message (which may have parts)."""
    if not instruction:
        return messages
    last = messages[-1]
    if isinstance(last.content, tuple):
        content: str | tuple[Mapping[str, Any], ...] = (*last.content, {"type": "text", "text": instruction})
    else:
        content = f"{last.text}\n\n{instruction}"
    return (*messages[:-1], replace(last, content=content))


def _words(question: Question) -> str:
    """Equal for questions that differ in nothing but white space, which would meet again in another split."""
    return stable_hash(_collapsed([message.to_dict() for message in question.messages]))


def _collapsed(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, Mapping):
        return {key: _collapsed(each) for key, each in value.items()}
    return [_collapsed(each) for each in value] if isinstance(value, list | tuple) else value


def _question(record: Record, options: JsonlOptions) -> Question:
    reference = record.text(options.answer_field, "answer_field")
    taken = {options.question_field, options.answer_field, "messages", "split"}
    meta = {key: value for key, value in record.data.items() if key not in taken}
    if options.question_field not in record.data and "messages" in record.data:
        asked = _conversation(record)
    else:
        asked = (user(record.text(options.question_field, "question_field")),)
    return Question(question_id(asked), instructed(asked, options.instruction), reference, meta)


def _conversation(record: Record) -> tuple[Message, ...]:
    raw = record.data["messages"]
    valid = isinstance(raw, list) and raw and all(isinstance(each, dict) and _is_message(each) for each in raw)
    if not valid:
        raise ConfigError(
            f"{record.where}: 'messages' must be a list of objects with 'role' (text) and 'content' (text or parts)"
        )
    return tuple(Message.from_dict(each) for each in raw)


def _is_message(raw: Mapping[str, Any]) -> bool:
    content = raw.get("content")
    parts = isinstance(content, list) and all(isinstance(part, dict) for part in content)
    return isinstance(raw.get("role"), str) and (isinstance(content, str) or parts)


def _by_field(records: Sequence[Record], questions: Sequence[Question]) -> dict[Split, list[Question]] | None:
    """The splits the file itself names; None where no line names one."""
    if not any("split" in record.data for record in records):
        return None
    dealt: dict[Split, list[Question]] = {split: [] for split in SPLITS}
    for record, question in zip(records, questions, strict=True):
        named = record.data.get("split")
        if named not in SPLITS:
            problem = "is missing, though other lines have it" if named is None else f"is {named!r:.40}"
            raise ConfigError(f"{record.where}: field 'split' {problem}; it must be one of {', '.join(SPLITS)}")
        dealt[named].append(question)
    return dealt


def _kind(questions: Iterable[Question]) -> Literal["number", "choice", "text"]:
    """What all references are."""
    references = [(question.reference or "").strip() for question in questions]
    if all(len(reference) == 1 and reference in "ABCDE" for reference in references):
        return "choice"
    return "number" if all(_is_number(reference) for reference in references) else "text"


def _is_number(reference: str) -> bool:
    match = NUMERAL.fullmatch(clean(reference).strip(" %."))
    return match is not None and canonical(match) is not None
