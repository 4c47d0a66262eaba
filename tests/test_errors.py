"""The tree of errors: what catches what, and what each says to a program."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest

import shardpack as sp
from shardpack import errors

ERRORS = [
    error
    for name, error in vars(errors).items()
    if inspect.isclass(error) and issubclass(error, Exception) and not name.startswith("_")
]
each_error = pytest.mark.parametrize("error", ERRORS)

# The parent of each, and its attributes. The tree may grow, these stay.
PROMISED: dict[type[Exception], tuple[type[Exception], set[str]]] = {
    sp.ShardpackError: (Exception, set()),
    sp.EncodeError: (sp.ShardpackError, set()),
    sp.InvalidRecordError: (sp.EncodeError, {"field"}),
    sp.RecordTooLargeError: (sp.EncodeError, {"size", "limit"}),
    sp.DecodeError: (sp.ShardpackError, set()),
    sp.ChecksumMismatchError: (sp.DecodeError, {"expected", "actual"}),
    sp.TruncatedError: (sp.DecodeError, {"offset"}),
    sp.MalformedError: (sp.DecodeError, {"offset"}),
    sp.OutOfRangeError: (sp.DecodeError, {"hash_key", "hash_range"}),
    sp.DeliveryError: (sp.ShardpackError, {"records", "attempts", "retriable"}),
    sp.CheckpointError: (sp.ShardpackError, {"shard_id"}),
    sp.LeaseLostError: (sp.CheckpointError, {"shard_id"}),
    sp.LeaseStoreError: (sp.ShardpackError, {"retriable"}),
}


def attributes_of(error: type[Exception]) -> list[str]:
    """What it takes besides its message."""
    takes = inspect.signature(error.__init__).parameters.values()
    return [one.name for one in takes if one.kind is one.KEYWORD_ONLY]


def made(error: type[Exception]) -> Exception:
    return error("said", **{name: (name, 7, b"bytes") for name in attributes_of(error)})


def parent_of(error: type[Exception]) -> type[Exception]:
    return next(one for one in error.__mro__[1:] if one in ERRORS or one is Exception)


@pytest.mark.parametrize("error", PROMISED)
def test_what_was_promised_is_kept(error: type[Exception]) -> None:
    assert (parent_of(error), set(attributes_of(error))) == PROMISED[error]


@pytest.mark.parametrize("error", PROMISED)
def test_what_was_handed_in_or_received_is_a_value_error(error: type[Exception]) -> None:
    assert issubclass(error, ValueError) == issubclass(error, sp.EncodeError | sp.DecodeError)


def test_every_error_is_public_and_has_one_root() -> None:
    assert {error.__name__ for error in ERRORS} <= set(sp.__all__)
    assert all(issubclass(error, sp.ShardpackError) for error in ERRORS)


def test_the_module_shows_the_whole_tree_with_value_errors_and_attributes() -> None:
    shown: dict[str, tuple[str, str, set[str]]] = {}
    above: list[tuple[int, str]] = []
    for indent, name, base, rest in re.findall(
        r"^( {4,})(\w+Error)(?:\((\w+)\))?:?(.*)$", inspect.getdoc(errors) or "", re.MULTILINE
    ):
        above = [one for one in above if one[0] < len(indent)]
        shown[name] = (above[-1][1] if above else "Exception", base, set(re.findall(r"\.(\w+)", rest)))
        above.append((len(indent), name))

    assert shown == {
        error.__name__: (
            parent_of(error).__name__,
            next((base.__name__ for base in error.__bases__ if base not in ERRORS and base in BUILT_IN), ""),
            set(attributes_of(error)) - set(attributes_of(parent_of(error))),
        )
        for error in ERRORS
    }


BUILT_IN = {ValueError, TypeError, RuntimeError, TimeoutError}


@each_error
def test_each_says_what_it_was_made_with(error: type[Exception]) -> None:
    one = made(error)

    assert str(one) == "said"
    assert vars(one) == {name: (name, 7, b"bytes") for name in attributes_of(error)}


@each_error
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_each_travels_between_processes(error: type[Exception], protocol: int) -> None:
    one = made(error)
    for copied in (pickle.loads(pickle.dumps(one, protocol)), copy.copy(one), copy.deepcopy(one)):
        assert type(copied) is error
        assert (copied.args, vars(copied)) == (one.args, vars(one))


def test_a_delivery_error_travels_with_its_records() -> None:
    records = (sp.PackedRecord(b"d", "k", None, 1), sp.PackedRecord(b"e", "k", "7", 2, "shard"))
    copied = pickle.loads(pickle.dumps(sp.DeliveryError("said", records=records, retriable=True)))

    assert (copied.records, list(copied.attempts), copied.retriable) == (records, [], True)


class OwnError(sp.InvalidRecordError):
    def __init__(self, message: str, *, field: str, more: int) -> None:
        super().__init__(message, field=field)
        self.more = more


def test_a_user_s_own_child_travels_with_its_notes() -> None:
    error = OwnError("said", field="data", more=7)
    error.add_note("noted")
    copied = pickle.loads(pickle.dumps(error))

    assert (type(copied), str(copied), copied.field, copied.more) == (OwnError, "said", "data", 7)
    assert copied.__notes__ == ["noted"]


@pytest.mark.parametrize("error", [error for error in PROMISED if attributes_of(error)])
def test_none_can_be_raised_without_what_it_promises(error: Any) -> None:
    with pytest.raises(TypeError, match="missing"):
        error("said")


@each_error
def test_a_message_is_bounded_and_keeps_its_remedy(error: Any) -> None:
    given = {name: (name, 7, b"bytes") for name in attributes_of(error)}
    one = error("wrong: " + "x" * 1_000_000 + "; do this instead", **given)

    assert len(str(one)) == 2000
    assert str(one).startswith("wrong: xxx")
    assert str(one).endswith("xxx; do this instead")
    assert str(error("x" * 2000, **given)) == "x" * 2000
    assert pickle.loads(pickle.dumps(one)).args == one.args
