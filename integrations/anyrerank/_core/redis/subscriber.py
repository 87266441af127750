"""A connection that listens to a channel."""

from __future__ import annotations

from typing import Any


class Subscriber:
    """Listens to a channel, from the moment it is made.

    Args:
        client: Made for this subscriber, which closes it.
        channel: Name of the channel.
    """

    def __init__(self, client: Any, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        try:
            self._pubsub.subscribe(channel)
            self._pubsub.get_message(timeout=None)
        except BaseException:
            self.close()
            raise

    def next(self, seconds: float) -> bytes | None:
        """The next message, or `None` if there is none for some seconds."""
        message = self._pubsub.get_message(timeout=seconds)
        return None if message is None else message["data"]

    def listeners(self) -> int:
        """How many connections listen to the channel."""
        (_, count), *_ = self._client.pubsub_numsub(self._channel)
        return int(count)

    def close(self) -> None:
        """Close the connections."""
        self._pubsub.close()
        self._client.close()
