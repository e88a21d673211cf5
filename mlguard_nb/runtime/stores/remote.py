"""Results on a Redis or Valkey server. Never pickle, unless MLGUARD_CACHE_KEY holds a key to sign it with."""

from __future__ import annotations

import math
import os

from mlguard_nb import clock
from mlguard_nb.runtime.redis_client import RedisClient
from mlguard_nb.runtime.stores.encoding import decode, encode, short
from mlguard_nb.runtime.stores.entry import Entry

__all__ = ["RedisStore"]

# Hold the lease unless somebody does: (whether it is held by the asker now, who holds it, the value). The value is
# sent only when the holder is not the one that the asker saw last: it has not been computed anew before that.
_TAKE = """
local taken = redis.call('set', KEYS[1], ARGV[1], 'nx', 'px', ARGV[2])
local holder = redis.call('get', KEYS[1])
if holder == ARGV[3] then return {0, holder, false} end
return {taken and 1 or 0, holder, redis.call('get', KEYS[2])}
"""
# Only who holds a lease may change it: give it another holder for so many milliseconds, or with 0 let it go.
_HAND_ON = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then return redis.call('del', KEYS[1]) end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
return 1
"""
_FAILED = b"failed"  # stands in the place of the holder, long enough for all who wait to see it
_FAILED_SECONDS = 1.0


class RedisStore:
    """The server at `url` (redis://, rediss://, valkey://, unix://); connected on first use.

    PolicyError for an address that cannot be. A server that is down or slow raises ConnectionError or TimeoutError
    after at most two seconds.
    """

    def __init__(self, url: str, secret: bytes | None = None) -> None:
        given = os.environ.get("MLGUARD_CACHE_KEY")
        self._secret = secret or (given.encode() if given else None)
        self._server = RedisClient(url, "cache: backend")

    def get(self, key: bytes) -> Entry | None:
        """The entry; None where there is none, or where it is torn or signed by somebody else."""
        return self._entry(self._server.ask("get", _name(key)))

    def _entry(self, raw: bytes | None) -> Entry | None:
        entry = None if raw is None else decode(raw, self._secret)
        return entry if entry is not None and entry.kept_until > clock.current().wall() else None

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep the entry; the server forgets it by itself when it is over."""
        raw = b"".join(encode(entry, self._secret))
        left = entry.kept_until - clock.current().wall()
        expires = {} if math.isinf(left) else {"px": max(1, int(left * 1000))}
        self._server.ask("set", _name(key), raw, **expires)

    def drop(self, key: bytes) -> bool:
        """Forget `key`, and that somebody is computing it; whether it was there."""
        was_there = bool(self._server.ask("delete", _name(key)))
        self._server.ask("delete", _lease(key))
        return was_there

    def clear(self, prefix: bytes) -> None:
        """Forget every key that begins with `prefix`."""
        found = list(self._server.keys(f"mlguard:{short(prefix[:16])}:*"))
        if found:
            self._server.ask("delete", *found)

    # Leases.

    def take(self, key: bytes, token: bytes, seconds: float, seen: bytes) -> tuple[bool, bytes, Entry | None]:
        """Hold `key` for `seconds` unless somebody does: (whether to compute now, who holds it, the entry under it)."""
        taken, holder, raw = self._server.ask(
            "eval", _TAKE, 2, _lease(key), _name(key), token, int(seconds * 1000), seen
        )
        return bool(taken) or holder == _FAILED, holder, self._entry(raw)

    def renew(self, key: bytes, token: bytes, seconds: float) -> None:
        """Hold it for `seconds` from now, where `token` holds it."""
        self._server.ask("eval", _HAND_ON, 1, _lease(key), token, token, int(seconds * 1000))

    def release(self, key: bytes, token: bytes, failed: bool) -> None:
        """Let it go, where `token` holds it; `failed`: all who wait compute at once, not one after the other."""
        milliseconds = int(_FAILED_SECONDS * 1000) if failed else 0
        self._server.ask("eval", _HAND_ON, 1, _lease(key), token, _FAILED, milliseconds)


def _name(key: bytes) -> str:
    return f"mlguard:{short(key[:16])}:{short(key[16:])}"


def _lease(key: bytes) -> str:
    return f"{_name(key)}:lease"
