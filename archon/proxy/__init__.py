"""The OpenAI-compatible proxy: architectures and models behind one endpoint, with keys, budgets and traces."""
