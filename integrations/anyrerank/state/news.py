"""What replicas tell each other through a channel of Redis."""

from __future__ import annotations

import json
import logging
import threading
import time
import weakref
from contextlib import closing, suppress
from typing import Any, Protocol

from anyrerank._core.redis import RedisLink, RedisUnavailableError, Subscriber
from anyrerank._core.runtime import reset_in_child

_log = logging.getLogger("anyrerank")

_POLL = 1.0
"""Seconds after which the number of listeners is asked for again."""
_PAUSE = 0.25
"""Seconds between two attempts to connect."""


class Listener(Protocol):
    """Gets the news."""

    def connected(self) -> None:
        """The channel is open, perhaps again: what was sent before may have been missed. Runs in the thread of news."""

    def heard(self, message: dict[str, Any]) -> None:
        """A message was sent. Runs in the thread of news."""


class News:
    """Passes the messages of a channel on to listeners, from a thread that ends when this object does.

    Args:
        link: To the server.
        channel: Name of the channel.
    """

    def __init__(self, link: RedisLink, channel: str) -> None:
        self.channel = channel
        self._link = link
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._reset()
        reset_in_child(self, News._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._reading: _Reading | None = None

    @property
    def replicas(self) -> int:
        """How many processes listen, this one included, as last known; 1 or more."""
        return 1 if self._reading is None else self._reading.replicas

    def add(self, listener: Listener) -> None:
        """Let a listener hear the news, for as long as it exists."""
        with self._lock:
            self._listeners = weakref.WeakSet((*self._listeners, listener))
            if self._reading is not None:
                self._reading.listeners = self._listeners
                self.send({})  # wakes the thread, which then greets the listener

    def start(self) -> None:
        """Listen, if that has not begun."""
        if self._reading is None:
            with self._lock:
                if self._reading is None:
                    self._reading = reading = _Reading(self._link, self.channel, self._listeners)
                    weakref.finalize(self, reading.stop.set)
                    reading.thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. On an event loop it does not wait; it never raises."""
        self._link.post(("PUBLISH", self.channel, json.dumps(message)))

    def close(self) -> None:
        """Stop listening; this takes up to two seconds if the server does not answer."""
        with self._lock:
            reading, self._reading = self._reading, None
        if reading is not None:
            reading.stop.set()
            with suppress(RedisUnavailableError):
                self._link.call(("PUBLISH", self.channel, "{}"))  # wakes the thread
            reading.thread.join()


class _Reading:
    """Reads a channel in a thread, and connects again whenever it must.

    Attributes:
        listeners: Get the messages.
        replicas: How many connections listen to the channel.
        stop: Set to end the thread.
        thread: The thread.
    """

    def __init__(self, link: RedisLink, channel: str, listeners: weakref.WeakSet[Listener]) -> None:
        self.listeners = listeners
        self.replicas = 1
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="anyrerank-news", daemon=True)
        self._link = link
        self._channel = channel
        self._is_away = False

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                with closing(self._link.subscriber(self._channel)) as channel:
                    self._read(channel)
            except self._link.failures as error:
                if not self._is_away:
                    _log.warning(
                        "%s; until it is back, rate limits are a share of this process, budgets may refuse calls, and "
                        "cooldowns are its own",
                        self._link.reason(error),
                    )
                self._is_away = True
                self.stop.wait(_PAUSE)

    def _read(self, channel: Subscriber) -> None:
        greeted: weakref.WeakSet[Listener] = weakref.WeakSet()
        ask_at = 0.0
        while not self.stop.is_set():
            for listener in self.listeners - greeted:
                listener.connected()
                greeted.add(listener)
            if (now := time.monotonic()) >= ask_at:
                self.replicas, ask_at = max(1, channel.listeners()), now + _POLL
                self._link.call(("SET", f"{self._channel}:probe", "", "PX", 1))  # whether it can be written
            self._link.flush()
            if self._is_away:
                _log.warning("Redis at %s answers again", self._link.shown)
            self._is_away = False
            if (text := channel.next(_POLL)) and (message := read(text)):
                for listener in list(self.listeners):
                    listener.heard(message)


def read(text: bytes) -> dict[str, Any] | None:
    """A message; `None` if it is none."""
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
