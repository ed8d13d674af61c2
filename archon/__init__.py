"""Archon Engine: a search engine for inference-time systems.

`import archon` is light: everything is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archon.architecture import Architecture
    from archon.budget import Budget
    from archon.compose import Builder, Part
    from archon.compose import node as Node
    from archon.executor import Result
    from archon.models import ModelSpec, ModelTable
    from archon.system import Archon
    from archon.types import Candidate, Message, Sampling, Usage

    Generator: Builder
    Fuser: Builder
    Ranker: Builder
    Critic: Builder
    Verifier: Builder
    UnitTestGenerator: Builder
    ExampleTests: Builder
    UnitTestEvaluator: Builder
    Vote: Builder
    SelfMoaSeq: Builder

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Archon",
    "Budget",
    "Builder",
    "Candidate",
    "Critic",
    "ExampleTests",
    "Fuser",
    "Generator",
    "Message",
    "ModelSpec",
    "ModelTable",
    "Node",
    "Part",
    "Ranker",
    "Result",
    "Sampling",
    "SelfMoaSeq",
    "UnitTestEvaluator",
    "UnitTestGenerator",
    "Usage",
    "Verifier",
    "Vote",
    "__version__",
]

_NAMES = {
    "Archon": "archon.system:Archon",
    "Architecture": "archon.architecture:Architecture",
    "Budget": "archon.budget:Budget",
    "Builder": "archon.compose:Builder",
    "Candidate": "archon.types:Candidate",
    "Message": "archon.types:Message",
    "ModelSpec": "archon.models:ModelSpec",
    "ModelTable": "archon.models:ModelTable",
    "Node": "archon.compose:node",
    "Part": "archon.compose:Part",
    "Result": "archon.executor:Result",
    "Sampling": "archon.types:Sampling",
    "Usage": "archon.types:Usage",
}
_BUILDERS = {
    "Critic": "critic",
    "Fuser": "fuser",
    "Generator": "generator",
    "Ranker": "ranker",
    "SelfMoaSeq": "self_moa_seq",
    "ExampleTests": "example_tests",
    "UnitTestEvaluator": "unit_test_evaluator",
    "UnitTestGenerator": "unit_test_generator",
    "Verifier": "verifier",
    "Vote": "vote",
}


def __getattr__(name: str) -> Any:
    if name in _BUILDERS:
        return import_module("archon.compose").builder(_BUILDERS[name])
    if name in _NAMES:
        module, _, attribute = _NAMES[name].partition(":")
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'archon' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
