"""Prompts of the zoo as token ids, one JSON object a line: what acceptance heads are trained and benched on.

    python -m archon.zoo.prompts --model captain --split train --count 3000 --out train.jsonl
    python -m archon.zoo.prompts --split held_out --count 400 --families minicode --roles solve --out held_out.jsonl

Each line holds `prompt` (token ids of the model's own vocabulary), `family`, `role` and `split`. The question of a
prompt belongs to the split asked for, whatever the role, so heads never see what they are benched on.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from archon.zoo import model, path
from archon.zoo.encoding import ROLES, encode
from archon.zoo.ledger import Split, draw_problem
from archon.zoo.minicode import draw_task
from archon.zoo.roles import drawn
from archon.zoo.vocabulary import Vocabulary

FAMILIES = ("ledger", "minicode")
CODE_ROLES = tuple(role for role in ROLES if role != "judge_tests")
"""The roles that models are asked to play about functions; tests of functions are run, not judged."""


def prompts(
    vocabulary: Vocabulary,
    count: int,
    *,
    split: Split = "train",
    seed: int = 0,
    families: Sequence[str] = ("ledger",),
    roles: Sequence[str] = ROLES,
    longest: int = 700,
) -> Iterator[dict[str, Any]]:
    """`count` prompts of at most `longest` tokens, families and roles in equal parts; half of them `solve` where that
    is among the roles. The same arguments give the same prompts."""
    rng = random.Random(f"prompts:{seed}:{split}")
    known = {family: [role for role in roles if family == "ledger" or role in CODE_ROLES] for family in families}
    if not all(known.values()):
        raise ValueError(f"zoo prompts: minicode has the roles {', '.join(CODE_ROLES)}, none of {', '.join(roles)}")
    made = 0
    while made < count:
        family = rng.choice(list(known))
        role = _role(rng, known[family])
        problem = draw_problem(rng, split=split, largest=600) if family == "ledger" else draw_task(rng, split=split)
        example = drawn(rng, role, problem)
        ids = encode(vocabulary, example.role, example.parts)
        if len(ids) <= longest:
            made += 1
            yield {"prompt": ids, "family": family, "role": role, "split": split}


def write(lines: Iterator[dict[str, Any]], file: Path) -> int:
    """Writes JSONL; how many lines."""
    texts = [json.dumps(line, separators=(",", ":")) for line in lines]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return len(texts)


def _role(rng: random.Random, roles: Sequence[str]) -> str:
    return "solve" if "solve" in roles and rng.random() < 0.5 else rng.choice(list(roles))


def families_of(name: str) -> list[str]:
    """The task families a model of the zoo was trained for."""
    return [family for family in FAMILIES if family in model(name).family.split("+")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="captain", help="whose vocabulary (default captain)")
    parser.add_argument("--split", choices=("train", "search", "selection", "held_out"), default="train")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, help="(default: those of the model)")
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=list(ROLES))
    parser.add_argument("--longest", type=int, default=700, help="most tokens of a prompt")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    options.families = options.families or families_of(options.model)
    if "minicode" in options.families and not set(options.roles) & set(CODE_ROLES):
        parser.error(f"minicode has the roles {', '.join(CODE_ROLES)}")
    lines = prompts(
        Vocabulary.load(path(options.model)),
        options.count,
        split=options.split,
        seed=options.seed,
        families=options.families,
        roles=options.roles,
        longest=options.longest,
    )
    print(f"{write(lines, options.out)} prompts in {options.out}")


if __name__ == "__main__":
    main()
