"""Tumbling windows: a state that Lambda carries from one batch of a shard to the next.

("Implementing stateful Kinesis Data Streams processing in Lambda")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from ..errors import DecodeError, StateTooLargeError
from ..limits import MIB, check_callable, shown
from ..records import ReceivedRecord
from ..replay.core.events import is_of_window, records_of
from ..unpacking.unpacker import OnCorrupt, unpack
from ._batch import Batch
from ._settings import OnFailure, check_settings

MAX_STATE_BYTES = MIB
"""Most bytes of JSON that a window's state may have. Beyond them Lambda ends the window early."""


class HasState(Protocol):
    """What has a window's state."""

    state: Any


class EventState:
    """The state of a window where Lambda puts it: in the event."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._event = event

    @property
    def state(self) -> Any:
        return self._event.get("state") or {}

    @state.setter
    def state(self, state: Any) -> None:
        current = self._event.get("state")
        if isinstance(current, dict):
            # In place: the handler may hold on to it, and Powertools' event cannot be assigned to.
            current.clear()
            current.update(state)


class Window:
    """A tumbling window, as the handler of `process_window` sees it.

    Attributes:
        state: what is known of the window so far; JSON, at most 1 MiB of it. Change it, or put another in its place.
        start: when the window began, in UTC; None when the event does not say.
        end: when it ends, not included; None when the event does not say.
        shard_id: the shard; each has windows of its own.
        final: whether this is the last call for the window (``isFinalInvokeForWindow``).
        terminated_early: whether Lambda ends it before its time, because its state became too large
            (``isWindowTerminatedEarly``).
    """

    def __init__(self, event: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self.state: Any = _load(dump_state(event.get("state") or dict(state)))
        window = event.get("window")
        window = window if isinstance(window, Mapping) else {}
        self.start = _time(window, "start")
        self.end = _time(window, "end")
        self.shard_id: str | None = event.get("shardId")
        self.final = bool(event.get("isFinalInvokeForWindow"))
        self.terminated_early = bool(event.get("isWindowTerminatedEarly"))


def process_window(
    event: Mapping[str, Any],
    handle: Callable[[ReceivedRecord, Window], object],
    *,
    state: Mapping[str, Any] | None = None,
    finish: Callable[[Window], object] | None = None,
    on_failure: OnFailure = "stop",
    divert: Callable[[ReceivedRecord, Exception], object] | None = None,
    max_attempts: int = 1,
    on_corrupt: OnCorrupt = "raw",
) -> dict[str, Any]:
    """Handle the user records of a tumbling window in their order, with the window's state.

    The event source mapping must have ``TumblingWindowInSeconds``, and ``FunctionResponseTypes:
    [ReportBatchItemFailures]``. After a failure the answer has the state as it was before the Kinesis record that
    Lambda sends again, so that nothing is counted twice; likewise a failed attempt leaves nothing in the state.

    Args:
        event: what Lambda hands to the function.
        handle: called with each user record and the window; has failed when it raises. What it returns is ignored.
        state: with what each window begins; copied. None: an empty dict.
        finish: called once the window has ended, whether in time or early, when all of its records are done. When it
            raises, Lambda calls again with the same state.
        on_failure: as for `process`.
        divert: as for `process`.
        max_attempts: as for `process`. With more than 1, and with ``divert``, the state is copied for each user record.
        on_corrupt: as for `unpack`.

    Returns:
        The function's answer to Lambda: ``batchItemFailures``, with at most one sequence number, and ``state``. When a
        Kinesis record makes the state larger than 1 MiB of JSON, that record has failed, with a `StateTooLargeError` in
        the log.

    Raises:
        ValueError: the event is of no window, or a setting is out of its range or does not go together with another.
        TypeError: ``handle`` or ``divert`` is asynchronous, one of the functions is none, or ``state`` is no JSON.
        DecodeError: the event has no list of records.
        Exception: what ``handle`` or ``finish`` raised, when no sequence number says where to go on. Lambda then sends
            the whole batch again.
    """
    check_settings(on_failure, divert, max_attempts=max_attempts)
    check_callable("handle", handle, "a function that takes a user record and the window")
    if finish is not None:
        check_callable("finish", finish, "a function that takes the window")
    if not isinstance(state, Mapping | None):
        raise TypeError(
            f"state is {shown(state)}, of type {type(state).__name__}; give a dict that JSON can hold, or None"
        )
    unpack((), on_corrupt=on_corrupt)  # raises now what it would raise at the first record
    records = records_of(event)
    if not is_of_window(event):
        raise ValueError(
            "the event has neither a 'window' nor a 'state': the event source mapping has no TumblingWindowInSeconds;"
            " set it, or use process"
        )
    window = Window(event, state or {})
    batch = Batch(
        records,
        lambda record: handle(record, window),
        divert,
        None,
        max_attempts=max_attempts,
        save_every=1,
        on_corrupt=on_corrupt,
    )
    answer = answer_of_window(batch, window)
    # Whichever of the two Lambda says, the state is gone after this call.
    if batch.error is None and finish is not None and (window.final or window.terminated_early):
        finish(window)
    return answer


def answer_of_window(batch: Batch, of: HasState) -> dict[str, Any]:
    """Handle a batch of a window, and give the answer to Lambda."""
    batch.run(1, StateKeeper(of))
    return {"batchItemFailures": batch.failures(), "state": of.state}


class StateKeeper:
    """Takes copies of a window's state, and puts them back."""

    def __init__(self, of: HasState) -> None:
        self._of = of

    def copy(self) -> str:
        """The state as JSON."""
        return dump_state(self._of.state)

    def checked_copy(self) -> str:
        """The state as JSON, if Lambda takes it.

        Raises:
            StateTooLargeError: it is too large.
            TypeError: it is no JSON.
        """
        copy = self.copy()
        size = len(copy.encode())
        if size > MAX_STATE_BYTES:
            raise StateTooLargeError(
                f"the window's state has {size:,} bytes of JSON, and Lambda takes at most {MAX_STATE_BYTES:,} for each"
                " shard: keep less in it, such as sums in the place of lists, or set a shorter"
                " TumblingWindowInSeconds",
                size=size,
                limit=MAX_STATE_BYTES,
            )
        return copy

    def restore(self, copy: str) -> None:
        """Put a copy in the place of the state."""
        self._of.state = _load(copy)


def dump_state(state: Any) -> str:
    """The JSON of a state, as Lambda's runtime for Python writes it.

    Raises:
        TypeError: it is none.
    """
    import json

    try:
        text = json.dumps(state, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        raise TypeError("the window's state has a lone surrogate, and Lambda keeps it as JSON in UTF-8") from None
    except (TypeError, ValueError, RecursionError) as error:
        said = "a number in it is too long" if isinstance(error, ValueError) and "digits" in str(error) else error
        raise TypeError(f"the window's state cannot be written as JSON, in which Lambda keeps it: {said}") from None
    return text


def _load(copy: str) -> Any:
    import json

    return json.loads(copy)


def _time(window: Mapping[str, Any], name: str) -> datetime | None:
    text = window.get(name)
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise DecodeError(
            f"{name!r} of the window is {shown(text)}; expected a time such as 2024-10-27T03:32:00Z"
        ) from None
