"""Turn a training run into a model folder: `python -m archon.zoo.export NAME [--run DIR] [--to FOLDER]`.

The folder holds float16 safetensors, configuration, tokenizer and `zoo.json`; transformers and vLLM load it unchanged.
"""

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from archon.zoo import ZooModel
from archon.zoo.recipes import RECIPES, recipe
from archon.zoo.vocabulary import CONTEXT, Vocabulary, save

WEIGHTS = "model.safetensors"
HEAD = "head"  # folder of the acceptance head, inside the model's


def export(name: str, run: Path, folder: Path) -> ZooModel:
    """Write the model of the run in `run` to `folder`, over what may be there."""
    import torch
    from transformers import GenerationConfig

    from archon.zoo.network import new_model

    stored = torch.load(run / "checkpoint.pt", weights_only=True)
    model = new_model(recipe(name))
    model.load_state_dict(stored["model"])
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=0, max_new_tokens=400)
    model.to(torch.float16).save_pretrained(folder)
    (folder / WEIGHTS).chmod(0o644)
    save(Vocabulary.load(run).tokenizer, folder)
    entry = ZooModel(
        name=name,
        family="+".join(recipe(name).families) or "draft",
        parameters=model.num_parameters(),
        context=CONTEXT,
        sha256=digest(folder),
        seed=recipe(name).seed,
        steps=stored["step"],
        minutes=round(stored["seconds"] / 60, 1),
        draft=draft_of(name),
        head=HEAD if (folder / HEAD).is_dir() else None,
    )
    (folder / "zoo.json").write_text(json.dumps(asdict(entry), indent=2) + "\n")
    return entry


def draft_of(name: str) -> str | None:
    """The model that is trained to foresee the one called `name`."""
    return next((made_by.name for made_by in RECIPES.values() if made_by.teacher == name), None)


def digest(folder: Path) -> str:
    """SHA-256 of a model folder's weights."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("--run", type=Path, help="folder of the training run (default: build/zoo/NAME)")
    parser.add_argument("--to", type=Path, help="folder to write (default: the package's own)")
    options = parser.parse_args()
    run = options.run or Path("build/zoo") / options.name
    if not (run / "checkpoint.pt").is_file():
        parser.error(f"no checkpoint in {run}; train the model first: python -m archon.zoo.train {options.name}")
    print(export(options.name, run, options.to or Path(__file__).parent / "models" / options.name))


if __name__ == "__main__":
    main()
