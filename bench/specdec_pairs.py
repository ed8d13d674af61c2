"""The two model pairs that speculative decoding is measured on, and the measurement.

    python bench/specdec_pairs.py [--pairs zoo deep] [--temperature 0 1] [--count 640] [--tokens 100] [--repeats 5]
        [--screen 100] [--head FOLDER] [--batches 1 2 4 8 16 64] [--assisted] [--json FILE] [--page FILE] [--plot FILE]

*zoo*: the zoo's `captain` (128 × 8) and the draft that was trained for it, `captain-draft` (128 × 2).
*deep*: a target of 256 × 12 with the same draft. **It is not a model of its own**: it is the captain, grown without
changing its function. Layers are repeated with outputs of zero, and the residual stream is carried twice. So it costs
what a 256 × 12 model costs, and what it writes has the captain's law: acceptance is the first pair's, c is not.

Prompts are held-out questions of the zoo's families, put as every role; no head and no model has seen them. Of the
fixed lengths 1 to 20 each is measured once on some of the prompts first (`--screen`), and those go on that could be the
best: by the clock and counted, the three fastest of each. The threshold of `specdec++` is derived from the costs
measured here. Prints a table for each temperature (see `python -m specdec bench`), then by batch size what speculation
is worth with the head as it is tuned here on training prompts, and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archon import zoo

if TYPE_CHECKING:
    from torch import Tensor

    from specdec.decoder import SpecDecoder

TARGET, DRAFT = "captain", "captain-draft"
DEEP_LAYERS = 12


class Pair(NamedTuple):
    """Folders of a target and a draft."""

    target: Path
    draft: Path


def pairs(work: Path, target: Path | None = None, draft: Path | None = None) -> dict[str, Pair]:
    """Both pairs by name; the deep target is made in `work`. Other folders than the zoo's may be given."""
    target, draft = target or zoo.path(TARGET), draft or zoo.path(DRAFT)
    return {"zoo": Pair(target, draft), "deep": Pair(grown(target, work / "deep"), draft)}


def grown(folder: Path, out: Path, layers: int = DEEP_LAYERS) -> Path:
    """A Llama of twice the width and of `layers` layers with the function of the one in `folder`, in float32.

    Depth: repeats of a layer add nothing, for the matrices that write into the residual stream are zero in them.
    Width: the stream is [h; h]; every matrix W that reads and writes it becomes [[W/2, W/2], [W/2, W/2]], so queries,
    keys, values and inner neurons are doubled too; the last norm's gain is halved, for the tied embedding adds up both
    halves (function-preserving growth, after Net2Net, Chen et al. 2016, arXiv 1511.05641).
    """
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "config.json").read_text())
    known = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*token*.json"):
        shutil.copy(file, out)
    for name in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"):
        config[name] *= 2
    before, config["num_hidden_layers"], config["dtype"] = config["num_hidden_layers"], layers, "float32"
    save_file(_grown(known, before, layers), out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=1))
    return out


def _grown(known: dict[str, Tensor], before: int, layers: int) -> dict[str, Tensor]:
    origin = [layer * before // layers for layer in range(layers)]
    made = {
        "model.embed_tokens.weight": known["model.embed_tokens.weight"].repeat(1, 2),
        "model.norm.weight": known["model.norm.weight"].repeat(2) / 2,
    }
    for layer, source in enumerate(origin):
        silent = layer > 0 and source == origin[layer - 1]
        prefix = f"model.layers.{source}."
        for name in [name for name in known if name.startswith(prefix)]:
            wide = _doubled(known[name])
            if silent and name.endswith(("o_proj.weight", "down_proj.weight")):
                wide.zero_()
            made[f"model.layers.{layer}.{name.removeprefix(prefix)}"] = wide
    return made


def _doubled(weight: Tensor) -> Tensor:
    """A gain twice, a matrix in all four quarters at half its size."""
    return weight.repeat(2) if weight.dim() == 1 else weight.repeat(2, 2) / 2


def head_for(pair: Pair, folder: Path, temperature: float) -> SpecDecoder:
    """The decoder of a pair with the head whose threshold is derived from the costs measured now, at batch 1."""
    from specdec.costs import measure
    from specdec.decoder import SpecDecoder
    from specdec.stopping import Stopping
    from specdec.threshold import derive
    from specdec.windows import load_windows

    loaded = SpecDecoder(pair.target, pair.draft, head=folder)
    assert loaded.head is not None
    costs, known = measure(loaded, temperature=temperature).costs, loaded.head.config.stopping_at(temperature)
    threshold = derive(load_windows(folder).at(temperature), costs, (known.multiplier,))
    # Not what was tuned where the head was trained, for another pair or another machine.
    tuned = loaded.head.with_stopping(Stopping(threshold.h, threshold.multiplier))
    print(f"{pair.target.name}, temperature {temperature:g}: h {threshold.h:.3f}", file=sys.stderr)
    return SpecDecoder(loaded.target, loaded.draft, head=tuned)


Figures = tuple[str, dict[str, Any]]
"""Tables of one pair as Markdown, and what they hold."""


def measured(name: str, pair: Pair, options: argparse.Namespace, keep: Callable[[Figures], None]) -> None:
    """Measure one pair. keep: is given what there is each time there is more, for it takes an hour."""
    from dataclasses import asdict, replace

    from bench.fixed_lengths import screened
    from specdec.assisted import Assisted
    from specdec.bench import ADAPTIVE, PLAIN, Plan, bench
    from specdec.crossover import crossover
    from specdec.crossover import markdown as batches
    from specdec.report import as_json, markdown, pareto

    chosen = tuple(options.policies or (PLAIN, *ADAPTIVE, *TUNED))
    foreign = {"hf-assisted": Assisted(pair.target, pair.draft)} if options.assisted else {}
    outcomes, screens, said = [], list[str](), lambda line: print(f"{name}: {line}", file=sys.stderr)
    prompts, heats = _prompts(options, "held_out"), tuple(options.temperature)
    for heat in heats:
        decoder = head_for(pair, options.head, heat)
        fixed: tuple[str, ...] = ()
        if options.screen > 0:
            plan = Plan((heat,), 1, 1, options.tokens, options.seed)
            fixed, table = screened(decoder, prompts[: options.screen], plan)
            screens.append(table)
            said(f"temperature {heat:g}: {', '.join(fixed)} go on")
        plan = Plan((heat,), options.repeats, 1, options.tokens, options.seed, (*chosen, *fixed))
        outcomes += bench(decoder, prompts, plan, foreign, said)
    text = "\n".join([f"## {name}: {pair.target.name} with {pair.draft.name}\n", markdown(outcomes), *screens])
    print(text, flush=True)
    keep((text, {**as_json(outcomes), "batches": []}))
    if options.plot:
        pareto(outcomes, options.plot.with_stem(f"{options.plot.stem}-{name}"))
    if not options.batches:
        return
    plan = replace(plan, temperatures=heats)
    points = crossover(_for_batches(pair, options, said), prompts, plan, options.batches, said)
    print(batches(points), flush=True)
    text += f"\n### By batch\n\n{batches(points)}"
    keep((text, {**as_json(outcomes), "batches": [asdict(point) for point in points]}))


def _for_batches(pair: Pair, options: argparse.Namespace, say: Callable[[str], None]) -> SpecDecoder:
    """A pair whose head is tuned here, on other prompts, for each number of rows."""
    from specdec.decoder import SpecDecoder
    from specdec.stages import tuned
    from specdec.windows import load_windows

    loaded = SpecDecoder(pair.target, pair.draft, head=options.head)
    head = tuned(
        loaded, load_windows(options.head), _prompts(options, "train")[:_TUNED_ON], options.batches,
        temperatures=options.temperature, tokens=options.tokens, say=say,
    )  # fmt: skip
    return SpecDecoder(loaded.target, loaded.draft, head=head)


_TUNED_ON = 128
"""Prompts at most."""
TUNED = ("product:0.1", "product:0.2", "product:0.6", "logistic:0.2", "logistic:0.6", "confidence:0.6", "svip:0.2")
"""Simple rules at other thresholds than their authors': the best of them is what a head has to beat."""


def _prompts(options: argparse.Namespace, split: str) -> list[list[int]]:
    from archon.zoo.prompts import families_of, prompts
    from archon.zoo.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(options.target or zoo.path(TARGET))
    families = options.families or families_of(TARGET)
    lines = prompts(vocabulary, options.count, split=split, families=families, seed=options.seed)
    return [line["prompt"] for line in lines]


def _read(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=("zoo", "deep"), default=["zoo", "deep"])
    parser.add_argument("--target", type=Path, help=f"another target than the zoo's {TARGET}")
    parser.add_argument("--draft", type=Path, help=f"another draft than the zoo's {DRAFT}")
    parser.add_argument("--head", type=Path, help="its acceptance head (default: the zoo's)")
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--count", type=int, default=640, help="prompts; of each come some 32 tokens")
    parser.add_argument("--screen", type=int, default=100, help="prompts to try fixed K on; 0: no fixed K")
    parser.add_argument("--families", nargs="+", help="ledger, minicode (default: those of the captain)")
    parser.add_argument("--tokens", type=int, default=100, help="most tokens a prompt")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policies", nargs="+", help="instead of all other rules")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 2, 4, 8, 16, 64], help="none: not measured")
    parser.add_argument("--assisted", action="store_true", help="also Hugging Face's assisted generation")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="the tables as Markdown")
    parser.add_argument("--plot", type=Path, help="PNG; the pair's name is added to its name")
    options = parser.parse_args(arguments)
    missing = [name for name in (TARGET, DRAFT) if name not in zoo.names()]
    if missing and not (options.target and options.draft):
        parser.error(f"the zoo has no {' and no '.join(missing)}; give --target and --draft")
    if options.head is None:
        known = zoo.model(TARGET) if TARGET in zoo.names() else None
        if known is None or known.head is None:
            parser.error("no acceptance head; train one (python -m specdec train) and give --head")
        options.head = zoo.path(TARGET) / known.head
    if wrong := _wrong(options):
        parser.error(wrong)
    return options


def _wrong(options: argparse.Namespace) -> str | None:
    """What would fail after an hour of measuring, told now."""
    from importlib.util import find_spec

    from specdec.errors import SpecDecError
    from specdec.head_config import read_head_config

    files = filter(None, (options.json, options.page, options.plot))
    if bad := next((file for file in files if file.is_dir() or not file.parent.is_dir()), None):
        return f"{bad} is a folder, or lies in none"
    if options.plot and find_spec("matplotlib") is None:
        return "--plot draws with matplotlib, which is not installed"
    if min(options.batches, default=1) < 1:
        return "--batches needs sizes of at least 1"
    try:
        head = read_head_config(options.head)
    except SpecDecError as error:
        return str(error)
    unknown = next((heat for heat in options.temperature if options.batches and not head.covers(heat)), None)
    return None if unknown is None else f"the head does not know temperature {unknown:g}: leave --batches empty there"


def _json(found: dict[str, Figures]) -> str:
    return json.dumps({"bench": "specdec_pairs", **{name: figures for name, (_, figures) in found.items()}})


def _keep(found: dict[str, Figures], options: argparse.Namespace) -> None:
    if options.page:
        options.page.write_text("\n".join(text for text, _ in found.values()))
    if options.json:
        options.json.write_text(_json(found) + "\n")


def main() -> None:
    import torch

    from specdec.errors import SpecDecError

    options, found = _read(), dict[str, Figures]()
    torch.set_num_threads(1)

    def keep(name: str, figures: Figures) -> None:
        found[name] = figures
        _keep(found, options)

    with tempfile.TemporaryDirectory() as work:
        known = pairs(Path(work), options.target, options.draft)
        for name in options.pairs:
            try:
                measured(name, known[name], options, partial(keep, name))
            except SpecDecError as error:
                sys.exit(f"specdec_pairs: {error}")
    print(_json(found))


if __name__ == "__main__":
    main()
