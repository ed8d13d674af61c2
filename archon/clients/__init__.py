"""Clients: the only way to a model.

Transports reach a model, wrappers hold a client and are one; `archon.clients.stack` puts them together.
"""
