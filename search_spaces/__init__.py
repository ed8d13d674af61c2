"""Search spaces shipped with Archon Engine, as YAML data."""
