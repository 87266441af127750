"""A connection that listens to a channel."""

from __future__ import annotations

from typing import Any


class Subscriber:
    """Listens to a channel, from the moment it is made.

    Args:
        client: Made for this subscriber, which closes it.
        channel: Name of the channel.
        timeout: Seconds that the server may take to confirm it.

    Raises:
        TimeoutError: It took longer.
    """

    def __init__(self, client: Any, channel: str, timeout: float) -> None:
        self._client = client
        self._channel = channel
        self._pubsub = client.pubsub()
        try:
            self._pubsub.subscribe(channel)
            if self._pubsub.get_message(timeout=timeout) is None:
                raise TimeoutError
        except BaseException:
            self.close()
            raise

    def next(self, seconds: float) -> bytes | None:
        """The next message, or `None` if there is none for some seconds."""
        message = self._pubsub.get_message(timeout=seconds)
        return message["data"] if message is not None and message["type"] == "message" else None

    def listeners(self) -> int:
        """How many connections listen to the channel."""
        (_, count), *_ = self._client.pubsub_numsub(self._channel)
        return int(count)

    def close(self) -> None:
        """Close the connections."""
        self._pubsub.close()
        self._client.close()
