"""Reading prompts from a JSONL file: one object a line, with a text or token ids under `prompt`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from specdec.errors import SpecDecError

Prompt = str | Sequence[int]


def read_prompts(file: str | Path) -> list[Prompt]:
    """All prompts, in order; blank lines are skipped. Raises SpecDecError with the line's number where one is not a
    prompt."""
    path = Path(file)
    if not path.is_file():
        raise SpecDecError(f'no prompts at {path}: a JSONL file with a "prompt" on each line is needed')
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SpecDecError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    found = [_prompt(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise SpecDecError(f"{path} holds no prompts")
    return found


def _prompt(path: Path, number: int, line: str) -> Prompt:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise SpecDecError(f"{path}, line {number}: not JSON ({error.msg})") from error
    prompt = record.get("prompt") if isinstance(record, dict) else None
    if isinstance(prompt, str) or (isinstance(prompt, list) and all(type(token) is int for token in prompt)):
        return prompt
    raise SpecDecError(f'{path}, line {number}: "prompt" must be a text or a list of token ids')
