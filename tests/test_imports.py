"""The directions of import, and the weight of `import archon`, are part of the design."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

_VALUES = {"archon.types", "archon.errors", "archon.protocols"}
_CORE = _VALUES | {"archon.models", "archon.registry", "archon.canonical", "archon.architecture", "archon.graph"}
_MIDDLE = {
    "archon.amounts",
    "archon.budget",
    "archon.journal",
    "archon.trace",
    "archon.extract",
    "archon.numerals",
    "archon.latex",
    "archon.wal",
}
_WORDS = {"archon.prompts", "archon.quoting", "archon.parsing", "archon.assertions"}
_RUN = _CORE | _MIDDLE | _WORDS | {"archon.context", "archon.executor"}
_CLIENTS = _VALUES | _MIDDLE | {"archon.models", "archon.registry", "archon.clients", "archon.zoo", "specdec"}

_FILES = {"archon.default_models", "archon.system_file"}

ALLOWED: dict[str, set[str]] = {
    "archon.types": set(),
    "archon.errors": {"archon.types"},
    "archon.protocols": {"archon.types", "archon.errors"},
    "archon.typed_keys": {"archon.errors"},
    "archon.models": {"archon.types", "archon.errors", "archon.typed_keys"},
    "archon.registry": _VALUES,
    "archon.canonical": _VALUES | {"archon.registry"},
    "archon.architecture": _VALUES | {"archon.canonical", "archon.models"},
    "archon.graph": _VALUES | {"archon.canonical", "archon.architecture"},
    "archon.picture": _CORE,
    "archon.amounts": _VALUES,
    "archon.journal": _VALUES | {"archon.amounts"},
    "archon.budget": _VALUES | {"archon.amounts", "archon.journal"},
    "archon.trace": _VALUES,
    "archon.extract": _VALUES | {"archon.numerals", "archon.latex"},
    "archon.numerals": set(),
    "archon.wal": set(),
    "archon.latex": {"archon.numerals"},
    "archon.sandbox": _VALUES | {"archon.sandbox"},
    "archon.prompts": _VALUES | {"archon.quoting", "archon.parsing", "archon.assertions"},
    "archon.assertions": _VALUES | {"archon.extract"},
    "archon.quoting": _VALUES,
    "archon.parsing": _VALUES,
    "archon.context": _VALUES | _MIDDLE | {"archon.models"},
    "archon.partial": _RUN,
    "archon.executor": _RUN | {"archon.partial"},
    "archon.clients": _CLIENTS,
    "archon.evals": _RUN | {"archon.evals", "archon.sandbox", "archon.zoo"},
    "archon.search": _RUN | {"archon.picture", "archon.evals", "archon.search", "archon.clients", *_FILES},
    "archon.proxy": _RUN
    | {"archon.picture", "archon.clients", "archon.proxy", "archon.sandbox", "archon.__version__", *_FILES},
    "archon.zoo": _VALUES | {"archon.zoo", "archon.extract", "archon.sandbox", "specdec"},
    "layers": _VALUES | {"layers"},
    "specdec": {"specdec"},
}
"""Our modules that a module or package may import; what is not listed here (the faces) may import anything."""

HEAVY = ("torch", "transformers", "litellm", "optuna", "fastapi", "starlette", "pyarrow", "sympy", "aiohttp")


def _modules() -> Iterator[tuple[str, Path]]:
    for top in ("archon", "layers", "specdec"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def _rule(module: str) -> set[str] | None:
    for name in (module, ".".join(module.split(".")[:2]), module.split(".")[0]):
        if name in ALLOWED:
            return ALLOWED[name]
    return None


def _imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports anywhere, type-checking blocks left out."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in ("archon", "layers", "specdec"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize(("module", "path"), [pytest.param(*each, id=each[0]) for each in _modules()])
def test_a_module_imports_only_what_lies_below_it(module: str, path: Path) -> None:
    allowed = _rule(module)
    if allowed is None:
        return
    ours = [name for name in _imports(path) if name.split(".")[0] in ("archon", "layers", "specdec")]
    for name in ours:
        assert any(name == each or name.startswith(each + ".") for each in allowed), f"{module} imports {name}"


def _printed(code: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    return done.stdout.strip()


def test_import_archon_stays_light() -> None:
    code = f"import archon, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert _printed(code) == "[]"


def test_importing_every_layer_loads_nothing_heavy() -> None:
    code = f"""
import sys
from archon import registry
for name in registry.layer_names():
    registry.layer_class(name)
print([m for m in {HEAVY!r} if m in sys.modules])"""
    assert _printed(code) == "[]"


def test_all_names_the_package_exports_exist() -> None:
    import archon

    for name in archon.__all__:
        assert getattr(archon, name) is not None
