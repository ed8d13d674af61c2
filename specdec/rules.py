"""Which stop policy a row goes by: the one that was asked for, the one that a head was tuned for, or a stand-in where
the head knows nothing."""

from __future__ import annotations

import logging

from specdec.errors import SpecDecError
from specdec.head_config import HeadConfig
from specdec.policies import Policy, make
from specdec.policies.capped import Capped

_log = logging.getLogger(__name__)


class Rules:
    """policy: a name or a policy; None = "specdec++" with a head, "logistic" without one, "off" where nothing drafts.
    fallback: the name of the rule at temperatures the head was not trained for. Raises SpecDecError for rules that need
    what is not there.
    """

    def __init__(self, policy: str | Policy | None, fallback: str, head: HeadConfig | None, *, drafts: bool) -> None:
        self._head = head
        if policy is None:
            policy = "off" if not drafts else "specdec++" if head else "logistic"
        self._warm, self._cold = self._chosen(policy)
        if "head" in self._warm.needs and head is None:
            raise SpecDecError(
                "policy specdec++ needs an acceptance head: pass head=FOLDER (python -m specdec train makes one)"
            )
        if not drafts and self._warm.limit(1) > 0:
            raise SpecDecError("this policy drafts tokens: pass draft=FOLDER, or policy='off'")
        self._fallback = Capped(make(fallback), self._warm)
        if "head" in self._fallback.needs:
            raise SpecDecError(f"fallback={fallback!r} asks the head, which it stands in for: name a simple rule")
        self._warned = set[str]()

    def at(self, temperature: float) -> tuple[Policy, str]:
        """The policy at a temperature, and a note where it is not the one that was chosen."""
        chosen = self._cold if temperature == 0 else self._warm
        if self._head is None or "head" not in chosen.needs or self._head.covers(temperature):
            return chosen, ""
        low, high = self._head.low, self._head.high
        note = f"the head was trained for temperatures {low}…{high}, not {temperature}: drafting by {self._fallback}"
        if note not in self._warned:
            self._warned.add(note)
            _log.warning(note)
        return self._fallback, note

    def _chosen(self, policy: str | Policy) -> tuple[Policy, Policy]:
        """Above temperature 0 and at it; they differ where they were tuned with the head."""
        if policy == "specdec++" and self._head:
            return self._head.stopping.policy(), self._head.stopping_at(0.0).policy()
        one = make(policy) if isinstance(policy, str) else policy
        return one, one
