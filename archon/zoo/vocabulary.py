"""The zoo's one vocabulary: byte-level BPE learnt from its own lessons, digits always single, special tokens apart."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from archon.zoo.encoding import ANSWER, EOS, PAD, ROLES, SPECIAL_TOKENS, role_token
from archon.zoo.ledger import draw_problem
from archon.zoo.minicode import draw_task
from archon.zoo.roles import drawn

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SIZE = 512
CONTEXT = 2048
# Words take the space after them along, signs both: `12 + 3` costs four tokens, and a number's digits stand alone.
_PIECES = r"\d|\p{L}+ ?| ?[^\s\p{L}\d]+ ?|\s"

# For servers that render a template and parse its text. There user text that spells a special token would be taken
# for one; the encoder of this package is not open to that, so prefer it wherever the text is not trusted.
CHAT_TEMPLATE = (
    "{%- set ns = namespace(role='solve', user=none, candidate=0, test=0) -%}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}"
    "{%- set text = m.content if m.content is string else m.content[0].text -%}"
    "{%- if text in [" + ", ".join(f"'{role}'" for role in ROLES) + "] -%}{%- set ns.role = text -%}{%- endif -%}"
    "{%- elif m.role == 'user' -%}{%- set ns.user = m.content -%}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if ns.user is string -%}" + role_token("solve") + "{{ ns.user }}"
    "{%- else -%}{{ '<|' + ns.role + '|>' }}"
    "{%- for part in ns.user -%}"
    "{%- if loop.index0 is odd -%}{{ '<|part ' + part.text + '|>' }}"
    "{%- if part.text == 'candidate' -%}{%- set ns.candidate = ns.candidate + 1 -%}"
    "{{ ('AB'[ns.candidate - 1] if ns.role == 'compare' and ns.candidate < 3 else ns.candidate | string) + ' : ' }}"
    "{%- elif part.text == 'test' -%}{%- set ns.test = ns.test + 1 -%}{{ (ns.test | string) + ' : ' }}{%- endif -%}"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}" + ANSWER
)


def build(seed: int = 0, lessons: int = 20_000, *, size: int = SIZE, texts: Sequence[str] = ("ledger",)) -> "Tokenizer":
    """Learn a vocabulary of `size` entries from generated lessons; the same arguments give the same vocabulary.

    `texts`: the families that the lessons are of. Models of one family fare best with a vocabulary of its own.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    # `Sequence` and `ByteLevel` are classes of the tokenizers package, not of typing.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(chain.from_iterable(_TEXTS[family](seed, lessons) for family in texts), trainer)
    return tokenizer


def _texts(seed: int, lessons: int) -> Iterator[str]:
    rng = random.Random(f"vocabulary:{seed}")
    for _ in range(lessons):
        example = drawn(rng, rng.choice(ROLES), draw_problem(rng, largest=300), vary=False, cited=False, marked=False)
        yield from (*example.parts, example.answer)


def _code_texts(seed: int, lessons: int) -> Iterator[str]:
    rng = random.Random(f"code vocabulary:{seed}")
    for _ in range(lessons // 4):
        task = draw_task(rng)
        yield from (task.question, task.solution)


_TEXTS: Mapping[str, Callable[[int, int], Iterator[str]]] = MappingProxyType(
    {"ledger": _texts, "minicode": _code_texts}
)


class Vocabulary:
    """A `TextEncoder` over a tokenizer: plain text never yields a special token."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        # With this flag the tokenizer reads special tokens spelled out in a text as ordinary characters.
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> "Vocabulary":
        """The vocabulary stored in a model folder."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))

    def plain(self, text: str) -> list[int]:
        """Token ids of `text`, whatever it spells."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def special(self, token: str) -> int:
        """The id of a special token."""
        return self._special[token]

    @cached_property
    def _special(self) -> dict[str, int]:
        found = ((token, self.tokenizer.token_to_id(token)) for token in SPECIAL_TOKENS)
        return {token: known for token, known in found if known is not None}

    def spelt(self, other: "Vocabulary") -> list[list[int]]:
        """Each token of `other`, in order, in the tokens of this vocabulary: one where both have it."""
        own = self.tokenizer.get_vocab()
        theirs = sorted(other.tokenizer.get_vocab().items(), key=lambda named: named[1])
        return [[own[name]] if name in own else self.plain(other.decode([token])) for name, token in theirs]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated tokens, special ones left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def save(tokenizer: "Tokenizer", folder: Path) -> None:
    """Write the tokenizer files that transformers (4 and 5) and vLLM load."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS,
        "pad_token": PAD,
        "additional_special_tokens": [token for token in SPECIAL_TOKENS if token not in (EOS, PAD)],
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
