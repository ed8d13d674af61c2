"""Requests per minute as a token bucket, in the form of the generic cell rate algorithm (ITU-T I.371, annex A).

A bucket holds one minute's worth of requests and refills evenly, so a key may send its whole minute at once and then
one request every 60/N seconds. The state is one integer a key, the theoretical arrival time, which the ledger keeps in
its file and changes in the same transaction as the reservation: right for any number of worker processes.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE = 60_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a key's bucket says to one request."""

    granted: bool
    arrival: int
    """The new theoretical arrival time, microseconds; unchanged where refused."""
    limit: int
    """Requests a minute."""
    remaining: int
    """Requests that would be granted right now, after this one."""
    reset: float
    """Seconds until the bucket is full again."""
    retry_after: float
    """Seconds until one request would be granted; 0 = now."""


def arrive(arrival: int, now: int, per_minute: int) -> Rate:
    """One request at `now` (microseconds), where the bucket's last state was `arrival` (0 = a full bucket)."""
    interval = MINUTE // per_minute
    start = max(arrival, now)
    wait = start + interval - now - MINUTE
    if wait > 0:
        return Rate(False, arrival, per_minute, 0, (start - now) / 1e6, wait / 1e6)
    arrival = start + interval
    remaining = (MINUTE - (arrival - now)) // interval
    return Rate(True, arrival, per_minute, remaining, (arrival - now) / 1e6, 0.0 if remaining else interval / 1e6)
