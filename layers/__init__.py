"""Inference-time techniques, one a file: each a value → value function of the state. `archon.registry` names them."""
