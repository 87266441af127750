"""What replicas tell each other through a channel of Redis."""

from __future__ import annotations

import json
import logging
import threading
import weakref
from contextlib import closing
from typing import Any, Protocol

from anyrerank._core.redis import RedisLink
from anyrerank._core.runtime import reset_in_child

_log = logging.getLogger("anyrerank")

_POLL = 1.0
"""Seconds after which the number of listeners is asked for again, when there are no news."""
_PAUSE = 0.25
"""Seconds between two attempts to connect."""


class Listener(Protocol):
    """Gets the news."""

    def connected(self) -> None:
        """The channel is open, perhaps again: what was sent before may have been missed. Runs in the thread of news."""

    def heard(self, message: dict[str, Any]) -> None:
        """A message was sent. Runs in the thread of news."""


class News:
    """Passes the messages of a channel on to listeners, from a thread that connects again whenever it must.

    Args:
        link: To the server.
        channel: Name of the channel.

    Attributes:
        replicas: How many processes listen, this one included, as last known; 1 or more.
    """

    def __init__(self, link: RedisLink, channel: str) -> None:
        self.channel = channel
        self._link = link
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._reset()
        reset_in_child(self, News._reset)

    def _reset(self) -> None:
        self.replicas = 1
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._ready = threading.Event()

    def add(self, listener: Listener) -> None:
        """Let a listener hear the news, for as long as it exists."""
        with self._lock:
            self._listeners.add(listener)

    def start(self) -> None:
        """Listen, if that has not begun."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._stop.clear()
                    self._thread = threading.Thread(target=self._run, name="anyrerank-news", daemon=True)
                    self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until the channel is open; returns whether it is."""
        return self._ready.wait(seconds)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. On an event loop it does not wait; it never raises."""
        self._link.post(("PUBLISH", self.channel, json.dumps(message)))

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        stop, failed = self._stop, False
        while not stop.is_set():
            try:
                self._listen(stop)
            except self._link.failures as error:
                if not failed:
                    _log.warning("%s; cooldowns of other processes are not known until it is back", error)
                failed = True
            self._ready.clear()
            self.replicas = max(1, self.replicas)
            stop.wait(_PAUSE)

    def _listen(self, stop: threading.Event) -> None:
        with closing(self._link.subscriber(self.channel)) as channel:
            for listener in list(self._listeners):
                listener.connected()
            self._ready.set()
            while not stop.is_set():
                if text := channel.next(_POLL):
                    self._pass_on(text)
                else:
                    self.replicas = max(1, channel.listeners())

    def _pass_on(self, text: bytes) -> None:
        message = read(text)
        if message is not None:
            for listener in list(self._listeners):
                listener.heard(message)


def read(text: bytes) -> dict[str, Any] | None:
    """A message; `None` if it is none."""
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
