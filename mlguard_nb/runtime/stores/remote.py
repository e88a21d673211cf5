"""Results on a Redis or Valkey server. Never pickle, unless MLGUARD_CACHE_KEY holds a key to sign it with."""

from __future__ import annotations

import math
import os
from typing import Any

from mlguard_nb import clock
from mlguard_nb.errors import MissingExtra, PolicyError
from mlguard_nb.runtime.stores.encoding import decode, encode, short
from mlguard_nb.runtime.stores.entry import Entry

__all__ = ["RedisStore"]

_CONNECT_SECONDS = 0.5
_ANSWER_SECONDS = 2.0


class RedisStore:
    """The server at `url` (redis://, rediss://, valkey://, unix://); connected on first use.

    PolicyError for an address that cannot be. A server that is down or slow raises ConnectionError or TimeoutError
    after at most two seconds.
    """

    def __init__(self, url: str, secret: bytes | None = None) -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingExtra("the Redis cache", "redis") from error
        given = os.environ.get("MLGUARD_CACHE_KEY")
        self._secret = secret or (given.encode() if given else None)
        self._errors = redis.RedisError
        try:
            self._client: Any = redis.Redis.from_url(
                url.replace("valkey://", "redis://", 1),
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=_ANSWER_SECONDS,
            )
            self._client.connection_pool.make_connection()  # made, not connected: knows every word of the address
        except (ValueError, TypeError) as error:
            shown = f"{url.partition('://')[0]}://{url.rpartition('@')[2].rpartition('://')[2]}"  # without a password
            raise PolicyError(
                f'cache: backend must be an address such as "redis://host:6379/0", got "{shown}": {error}'
            ) from None

    def _ask(self, command: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._client, command)(*arguments, **options)
        except self._errors as error:
            raise ConnectionError(f"the cache's server did not answer {command}: {error}") from error

    def get(self, key: bytes) -> Entry | None:
        """The entry; None where there is none, or where it is torn or signed by somebody else."""
        raw = self._ask("get", _name(key))
        entry = None if raw is None else decode(raw, self._secret)
        return entry if entry is not None and entry.kept_until > clock.current().wall() else None

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep the entry; the server forgets it by itself when it is over."""
        raw = b"".join(encode(entry, self._secret))
        left = entry.kept_until - clock.current().wall()
        expires = {} if math.isinf(left) else {"px": max(1, int(left * 1000))}
        self._ask("set", _name(key), raw, **expires)

    def drop(self, key: bytes) -> bool:
        """Forget `key`; whether it was there."""
        return bool(self._ask("delete", _name(key)))

    def clear(self, prefix: bytes) -> None:
        """Forget every key that begins with `prefix`."""
        try:
            found = list(self._client.scan_iter(f"mlguard:{short(prefix[:16])}:*", count=500))
        except self._errors as error:
            raise ConnectionError(f"the cache's server did not answer: {error}") from error
        if found:
            self._ask("delete", *found)


def _name(key: bytes) -> str:
    return f"mlguard:{short(key[:16])}:{short(key[16:])}"
