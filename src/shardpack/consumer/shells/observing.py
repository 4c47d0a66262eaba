"""What a consumer tells of itself, whichever shell it has."""

from __future__ import annotations

from ..metrics import ConsumerStats
from ..reading.directory import Directory
from .driving.driven import Driven


class Observed:
    """What may be asked at any time, from any thread."""

    _shell: Driven
    _directory: Directory | None

    @property
    def stats(self) -> ConsumerStats:
        """What it has done so far: counts and times, under the names of the KCL's metrics."""
        return self._shell.look(lambda engine: engine.stats)

    def is_healthy(self) -> bool:
        """Whether it works, for a liveness probe: leases are renewed in time, no reader hangs, the streams are found.

        True before the first batch is asked for; False after `close`, and after what nothing mends.
        """
        return self._shell.is_healthy() and (self._directory is None or self._directory.is_well)

    @property
    def millis_behind_latest(self) -> dict[str, int | None]:
        """For each shard that this worker holds, how many milliseconds its reading is behind; None: not known yet."""
        return self._shell.look(lambda engine: engine.millis_behind_latest)

    @property
    def is_caught_up(self) -> bool:
        """Whether everything was handed out, and is no longer in hand, that this worker's shards held when last read.

        False until the first shards are read, and while shards that nobody holds wait to be taken.
        """
        return self._shell.look(lambda engine: engine.is_caught_up)

    @property
    def caught_up_shards(self) -> set[str]:
        """The shards of this worker of which everything was handed out, and is no longer in hand, when last read."""
        return self._shell.look(lambda engine: engine.caught_up_shards)
