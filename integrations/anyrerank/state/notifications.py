"""Messages between replicas, through a channel of Redis."""

from __future__ import annotations

import json
import logging
import threading
import time
import weakref
from collections import deque
from contextlib import closing, suppress
from typing import Any, Protocol
from uuid import uuid4

from anyrerank._core.redis import Command, RedisLink, RedisUnavailableError, Script, Subscriber
from anyrerank._core.runtime import reset_in_child
from anyrerank.state.server_check import facts_of
from anyrerank.state.whole import Whole

_log = logging.getLogger("anyrerank")

_AGREE = Script("anyrerank.state.scripts", "agree")
_POLL = 1.0
"""Seconds after which the number of listeners is asked for again."""
_MINUTE = 60.0
_GIVING_SECONDS = 5.0
_GLANCE = 0.01
_PAUSE = 0.25
"""Seconds between two attempts to connect."""


class Listener(Protocol):
    """Receives the messages of other replicas, in the thread that reads them."""

    def connected(self) -> None:
        """The channel is open, perhaps again: what was sent before may have been missed."""

    def received(self, message: dict[str, Any]) -> None:
        """A message was sent."""

    def lost(self, loss: str | None) -> None:
        """The server has lost its data: give back what is known here.

        Args:
            loss: The same if this is repeated for the same loss; `None` if this process is new and the server has its
                data: then only what an earlier process left here may be missing.
        """


class Late(Protocol):
    """What was counted without the server."""

    def catch_up(self) -> None:
        """Let the server count it.

        Raises:
            RedisUnavailableError: It does not answer.
        """


class Notifications:
    """Passes the messages of a channel on to listeners, from a thread that ends when this object does.

    Args:
        link: To the server.
        channel: Name of the channel.
        whole: How processes know that the server has its data.

    Attributes:
        channel: Its name.
        whole: As given.
        late: What the thread lets catch up as soon as the server answers.
    """

    def __init__(self, link: RedisLink, channel: str, whole: Whole) -> None:
        self.channel = channel
        self.whole = whole
        self._link = link
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._reset()
        reset_in_child(self, Notifications._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._reading: _Reading | None = None
        self.late: set[Late] = set()

    @property
    def replicas(self) -> int:
        """How many processes listen, this one included: the most in the last minute that is known, 1 or more."""
        return 1 if self._reading is None else self._reading.replicas

    def add(self, listener: Listener) -> None:
        """Pass messages to a listener, as long as it exists."""
        with self._lock:
            self._listeners = weakref.WeakSet((*self._listeners, listener))
            if self._reading is not None:
                self._reading.listeners = self._listeners
                self.send({})  # wakes the thread, which then greets the listener

    def start(self) -> None:
        """Start to listen, if it has not started."""
        if self._reading is None:
            with self._lock:
                if self._reading is None:
                    self._reading = reading = _Reading(self._link, self.channel, self.whole, self._listeners, self.late)
                    weakref.finalize(self, reading.stop.set)
                    reading.thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. On an event loop it does not wait; it never raises."""
        self._link.post(("PUBLISH", self.channel, json.dumps(message)))

    def close(self) -> None:
        """Stop listening, and let what is late catch up; this takes up to two seconds if the server does not answer."""
        with self._lock:
            reading, self._reading = self._reading, None
        if reading is not None:
            reading.stop.set()
            with suppress(RedisUnavailableError):
                self._link.call(("PUBLISH", self.channel, "{}"))  # wakes the thread
            reading.thread.join()
        with suppress(RedisUnavailableError):
            _catch_up(self.late)


class _Reading:
    """Reads a channel in a thread, and connects again whenever it must.

    Attributes:
        listeners: Get the messages.
        late: What catches up as soon as the server answers.
        replicas: How many connections listen to the channel, or did in the last minute: if the server goes away for a
            moment, they come back one after the other.
        stop: Set to end the thread.
        thread: The thread.
    """

    def __init__(
        self, link: RedisLink, channel: str, whole: Whole, listeners: weakref.WeakSet[Listener], late: set[Late]
    ) -> None:
        self.listeners = listeners
        self.late = late
        self.replicas = 1
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="anyrerank-notifications", daemon=True)
        self._link = link
        self._channel = channel
        self._is_away = False
        self._is_failing = False
        self._id = uuid4().hex
        self._whole = whole
        self._given = f"{whole.key}:numbers"
        self._server = ""
        self._agree_at: float | None = None
        """When to wait no longer for processes that have yet to give back what they know; `None` before a loss."""
        self._counts: deque[tuple[float, int]] = deque()

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
            except Exception as error:  # noqa: BLE001  a fault of a listener: without this thread nothing is given back
                if not self._is_failing:
                    _log.error("what Redis at %s says cannot be used: %r", self._link.shown, error, exc_info=error)
                self._is_failing = True
                self.stop.wait(_PAUSE)

    def _read(self, channel: Subscriber) -> None:
        greeted: weakref.WeakSet[Listener] = weakref.WeakSet()
        ask_at = 0.0
        self._notice_restart()
        self._link.call(("PUBLISH", self._channel, "{}"))  # lets the others know that there is one more
        while not self.stop.is_set():
            self._greet(greeted)
            if (now := time.monotonic()) >= ask_at:
                self._count(channel.listeners(), now)
                ask_at = now + _POLL
                self._link.call(("SET", f"{self._channel}:probe", "", "PX", 1))  # whether it can be written
            self._link.flush()
            self._give_back()
            _catch_up(self.late)
            if self._is_away:
                _log.warning("Redis at %s answers again", self._link.shown)
            self._is_away = self._is_failing = False
            message = read(channel.next(_POLL) or b"")
            if message:
                self._pass_on(message)
            elif message is not None:
                ask_at = 0.0

    # In functions of their own: a listener that is still named here would be kept for as long as the thread runs.
    def _greet(self, greeted: weakref.WeakSet[Listener]) -> None:
        for listener in self.listeners - greeted:
            listener.connected()
            greeted.add(listener)

    def _notice_restart(self) -> None:
        """Find out which run of the server this is, and let it forget what it has from another one."""
        if (info := self._if_allowed(("INFO", "server"))) is not None:
            self._server = facts_of(info).get("run_id", "")
        self._forget_older()

    def _forget_older(self) -> bool:
        """Let the server forget older data; returns whether processes have yet to agree that it has its data."""
        return bool(self._if_allowed(self._whole.forgetting()))

    def _if_allowed(self, command: Command) -> Any:
        """The reply to a command, or `None` if this process may not send it."""
        try:
            return self._link.call(command)
        except RedisUnavailableError as error:
            if not error.is_reply:
                raise
            return None

    def _pass_on(self, message: dict[str, Any]) -> None:
        for listener in list(self.listeners):
            listener.received(message)

    def _count(self, listeners: int, now: float) -> None:
        self._counts.append((now, listeners))
        while self._counts[0][0] < now - _MINUTE:
            self._counts.popleft()
        self.replicas = max(1, *(count for _, count in self._counts))

    def _give_back(self) -> None:
        """If the server has lost its data, let the listeners give back what they know, and agree that it is whole."""
        whole = self._whole
        while (found := self._link.call(("GET", whole.key))) is None or found != whole.value:
            if found is not None and self._forget_older():
                found = None
            is_new = found is not None and whole.value is None  # then the server has all that it has counted
            loss = None if is_new else (whole.value or b"").decode()
            for listener in list(self.listeners):
                listener.lost(loss)
            if found is None:
                self._wait_for_others()
                found = self._link.call(_AGREE.command([whole.key, self._given], [self._id, self._server]))
            if found is not None:  # or it has lost its data again
                self._agree_at = None
                whole.found(found)

    def _wait_for_others(self) -> None:
        """Wait until all processes have given back what they know, or until one that is gone had its time for it.

        That time goes on if the connection breaks meanwhile and the server still knows that this process waits.
        """
        is_first = self._link.call(("HSET", self._given, self._id, self._whole.next_number()))
        self._link.call(("PEXPIRE", self._given, round(2000 * _GIVING_SECONDS)))
        if is_first or self._agree_at is None:
            self._agree_at = time.monotonic() + _GIVING_SECONDS
        while time.monotonic() < self._agree_at and not self.stop.wait(_GLANCE):
            have_all = self._link.call(("HLEN", self._given)) >= self.replicas
            is_forgotten = not self._link.call(("HEXISTS", self._given, self._id))
            if have_all or is_forgotten or self._link.call(("EXISTS", self._whole.key)):
                return


def _catch_up(late: set[Late]) -> None:
    while late:
        each = late.pop()  # first: it may be added again meanwhile
        try:
            each.catch_up()
        except BaseException:
            late.add(each)
            raise


def read(text: bytes) -> dict[str, Any] | None:
    """The message in `text`, or `None` if it is not a message."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
