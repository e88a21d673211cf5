"""The connection to a Redis or Valkey server, which answers within two seconds or fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlguard_nb.errors import MissingExtra, PolicyError

__all__ = ["RedisClient"]

_CONNECT_SECONDS = 0.5
_ANSWER_SECONDS = 2.0


class RedisClient:
    """The server at `url` (redis://, rediss://, valkey://, unix://); connected on first use.

    `asked_by` names the option that holds the address, for messages. PolicyError for an address that cannot be,
    MissingExtra without the redis package. A server that is down or slow raises ConnectionError.
    """

    def __init__(self, url: str, asked_by: str) -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingExtra("what is shared through Redis", "redis") from error
        self._errors = redis.RedisError
        url = str(url)
        self.shown = f"{url.partition('://')[0]}://{url.rpartition('@')[2].rpartition('://')[2]}"  # without a password
        try:
            self._client: Any = redis.Redis.from_url(
                url.replace("valkey://", "redis://", 1),
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=_ANSWER_SECONDS,
            )
            self._client.connection_pool.make_connection()  # made, not connected: knows every word of the address
        except (ValueError, TypeError) as error:
            raise PolicyError(
                f'{asked_by} must be an address such as "redis://host:6379/0", got "{self.shown}": {error}'
            ) from None

    def ask(self, command: str, *arguments: Any, **options: Any) -> Any:
        """The answer to one command."""
        try:
            return getattr(self._client, command)(*arguments, **options)
        except self._errors as error:
            raise ConnectionError(f"the server did not answer {command}: {error}") from error

    def keys(self, pattern: str) -> Iterator[bytes]:
        """The keys that match, without holding up the server."""
        try:
            yield from self._client.scan_iter(pattern, count=500)
        except self._errors as error:
            raise ConnectionError(f"the server did not answer scan: {error}") from error
