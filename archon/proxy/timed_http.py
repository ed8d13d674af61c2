"""The HTTP protocol under an import path, as worker processes need it: `archon.proxy.timed_http:TimedProtocol`."""

from __future__ import annotations

from archon.proxy.slow import timed_protocol

TimedProtocol = timed_protocol()
