"""A Redis server whose scripts read the time that a test has set."""

from __future__ import annotations

from redis import Redis

from anyrerank._core.redis import Command, RedisLink
from anyrerank._core.redis.script import in_full

_TIME = "redis.call('TIME')"


class TimedLink(RedisLink):
    """A link whose scripts read the time from the server's key `clock`; until a test moves it, it stands still.

    Args:
        url: Of a server that only this test uses.
        now: Seconds since the epoch, in the future: by its own clock the server forgets keys of the past.
    """

    def __init__(self, url: str, now: float = 3_000_000_000.0) -> None:
        super().__init__(url, timeout=5.0)
        self._clock = Redis.from_url(url)
        self.now = now
        self.move(0)

    def move(self, seconds: float) -> None:
        self.now += seconds
        whole, part = divmod(round(self.now * 1e6), 1_000_000)
        self._clock.set("clock", f'["{whole}","{part}"]')

    def empty(self) -> None:
        """Let the server lose its data."""
        self._clock.flushdb()
        self.move(0)

    def call(self, command: Command) -> object:
        return super().call(_timed(command))

    def close(self) -> None:
        super().close()
        self._clock.close()


def _timed(command: Command) -> Command:
    if command[0] != "EVALSHA":
        return command
    evaluate, text, *rest = in_full(command)
    assert isinstance(text, str)
    return (evaluate, text.replace(_TIME, "cjson.decode(redis.call('GET', 'clock'))"), *rest)
