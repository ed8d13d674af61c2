"""The name under which a call is cached: which upstream, what is asked, which draw.

Everything that can change the answer is in it, nothing that cannot: equal calls of two architectures, runs or machines
have equal keys. The seed is in the key only for models that obey it; otherwise the sample index alone tells draws
apart.
"""

from __future__ import annotations

import hashlib

from archon.errors import ConfigError
from archon.models import ModelSpec
from archon.types import Request, canonical_json


def upstream_identity(spec: ModelSpec, neutral: frozenset[str] = frozenset(), fingerprint: str = "") -> str:
    """Canonical text that is equal for two rows of the model table exactly when they reach the same model.

    Args:
        neutral: options of the client that cannot change an answer (header values, paths' names).
        fingerprint: what the transport says about content behind its options (a hash of weights, of a file).

    Raises:
        ConfigError: an option is no JSON value (YAML reads 2024-01-01 as a date).
    """
    options = {key: value for key, value in spec.options.items() if key not in neutral}
    endpoint = spec.endpoint.rstrip("/") if spec.endpoint else None
    try:
        return canonical_json([spec.client, endpoint, spec.upstream, options, fingerprint])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model {spec.id!r}: options: only plain JSON values may stand here ({error}); put dates in quotes"
        ) from None


def call_key(identity: str, request: Request, seeded: bool) -> str:
    """SHA-256 (64 hex digits) naming one draw of one request from one upstream."""
    draw = canonical_json([request.sample, request.seed if seeded else None])
    return hashlib.sha256("\0".join((identity, request.canonical(), draw)).encode(errors="surrogatepass")).hexdigest()
