"""The process's half of the conversation with the daemon. It takes lines and gives lines, and knows of no file."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable

from ..consumer.batch import Batch
from ..errors import LeaseLostError
from ..records import Position
from .messages import ConversationError, Message, message_of, records_of, shard_of
from .processor import Checkpointer, RecordProcessor

_log = logging.getLogger("shardpack.multilang")

# Daemons before 2.0 (of KCL 1.x) say "shutdown" with a reason for all three; 3.x knows the message and never says it.
_ACTION_OF_REASON = {"TERMINATE": "shardEnded", "ZOMBIE": "leaseLost", "REQUESTED": "shutdownRequested"}


class Conversation:
    """Answers each message of the daemon, in lock step.

    Args:
        processor: the application's.
        lines: of the daemon, until it ends the process.
        say: sends a line to it.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        processor: RecordProcessor,
        lines: Iterable[bytes],
        say: Callable[[bytes], object],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._processor = processor
        self._lines = iter(lines)
        self._say = say
        self._sleep = sleep
        self._checkpointer: Checkpointer | None = None

    def until_the_end(self) -> None:
        """Answer message after message, until there are no more.

        Raises:
            ConversationError: a message is none of the protocol's, or comes out of turn.
            Exception: the processor's.
        """
        while (message := self._next()) is not None:
            self._answer(message)
            self._send(action="status", responseFor=message["action"])

    def _answer(self, message: Message) -> None:
        if message["action"] == "initialize":
            shard_id, position = shard_of(message)
            self._checkpointer = Checkpointer(shard_id, position, self._ask, self._sleep)
            self._processor.initialize(shard_id, position)
            return
        checkpointer = self._checkpointer
        if checkpointer is None:
            raise ConversationError(f"the daemon begins with {message!r:.100}; it is to begin with initialize")
        try:
            self._call(_action(message), message, checkpointer)
        except LeaseLostError as error:
            _log.info("%s", error)  # the daemon says so itself next
        finally:
            checkpointer.close()

    def _call(self, action: str, message: Message, checkpointer: Checkpointer) -> None:
        """Call the method of the processor that an action is for."""
        if action == "processRecords":
            records, millis_behind_latest = records_of(message, checkpointer.shard_id)
            checkpointer.open(records[-1].position if records else None)
            batch = Batch(
                checkpointer.shard_id, records, millis_behind_latest, checkpointer.checkpoint, shard_ended=False
            )
            self._processor.process_records(batch, checkpointer)
        elif action == "shardEnded":
            checkpointer.open(Position.SHARD_END)
            self._processor.shard_ended(checkpointer)
            if checkpointer.position != Position.SHARD_END:
                checkpointer.checkpoint()  # else the KCL never begins the children
        elif action == "shutdownRequested":
            checkpointer.open(None)
            self._processor.shutdown_requested(checkpointer)
        elif action == "leaseLost":
            self._processor.lease_lost()
        else:
            raise ConversationError(
                f"the daemon's message {message!r:.200} has an action that this protocol does not know"
            )

    def _ask(self, position: Position | None) -> str | None:
        """Ask the daemon for a checkpoint; the name of its error, or None."""
        self._send(
            action="checkpoint",
            sequenceNumber=position.sequence_number if position else None,
            subSequenceNumber=position.sub_sequence_number if position else None,
        )
        answer = self._next()
        if answer is None or answer["action"] != "checkpoint":
            found = "the end of its messages" if answer is None else repr(answer["action"])
            raise ConversationError(f"the daemon answered a checkpoint with {found:.100}")
        error = answer.get("error")
        return None if error is None else str(error)

    def _next(self) -> Message | None:
        line = next(self._lines, None)
        return None if line is None else message_of(line)

    def _send(self, **message: object) -> None:
        self._say(json.dumps(message).encode() + b"\n")


def _action(message: Message) -> str:
    action: str = message["action"]
    return _ACTION_OF_REASON.get(str(message.get("reason")), action) if action == "shutdown" else action
