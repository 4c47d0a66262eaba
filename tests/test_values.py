"""The light bases of values behave as the originals do that they stand for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing
from typing import Any

import pytest

import shardpack as sp
from shardpack.unpacking.shapes import KinesisRecord
from shardpack.values import NamedTuple, Value


class Light(Value):
    left: int
    right: str | None = None
    kind: typing.ClassVar[str] = "light"  # no field, and so no argument

    @property
    def both(self) -> str:
        return f"{self.left}{self.right}"


@dataclasses.dataclass(frozen=True, slots=True)
class Original:
    left: int
    right: str | None = None


class LightTuple(NamedTuple):
    left: int
    right: str | None = None

    @property
    def both(self) -> str:
        return f"{self.left}{self.right}"


class OriginalTuple(typing.NamedTuple):
    left: int
    right: str | None = None


def outcome(make: Any, *args: object, **named: object) -> object:
    """What a call gives, by its fields or the message of its error."""
    try:
        made = make(*args, **named)
    except TypeError as error:
        return str(error).replace("LightTuple", "OriginalTuple").replace("Light", "Original")
    return made.left, made.right


def raised_by(call: Any) -> tuple[type, str]:
    """The type and the message of the error of a call."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  # whatever the original raises
        call()
    return raised.type, str(raised.value)


@pytest.mark.parametrize(("light", "original"), [(Light, Original), (LightTuple, OriginalTuple)])
@pytest.mark.parametrize(
    ("args", "named"),
    [
        ((1,), {}),
        ((1, "2"), {}),
        ((), {"left": 1}),
        ((1,), {"right": "2"}),
        ((), {}),
        ((1, 2, 3), {}),
        ((1,), {"up": 1}),
    ],
)
def test_calls_are_taken_or_refused_alike(light: Any, original: Any, args: Any, named: Any) -> None:
    assert outcome(light, *args, **named) == outcome(original, *args, **named)


class TestValue:
    def test_is_as_equal_and_as_readable_as_a_dataclass(self) -> None:
        assert Light(1) == Light(1, None)
        assert Light(1) != Light(2)
        others: list[object] = [Original(1), (1, None)]
        assert Light(1) not in others
        assert len({Light(1), Light(1, None), Light(1, "2")}) == 2
        assert repr(Light(1, "2")) == repr(Original(1, "2")).replace("Original", "Light")
        assert Light(1, "2").both == "12"
        assert Light.kind == Light(1).kind == "light"
        match Light(1, "2"):
            case Light(left, "2"):
                assert left == 1
            case _:
                pytest.fail("it did not match")

    def test_keeps_no_attributes_of_its_own_and_does_not_change(self) -> None:
        value = Light(1)
        with pytest.raises(AttributeError, match="a Light is immutable; make a new one instead of setting left"):
            value.left = 2  # type: ignore[misc]
        with pytest.raises(AttributeError, match="a Light is immutable; right cannot be deleted"):
            del value.right
        assert not hasattr(value, "__dict__")

    @pytest.mark.parametrize(
        "value", [Light(1, "2"), sp.Limits(100), sp.PackedRecord(b"d", "k", None, 1), sp.Shard("s")]
    )
    def test_can_be_copied_pickled_and_replaced(self, value: Any) -> None:
        assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
        assert value.__replace__() == value

    def test_a_field_is_replaced_and_checked_again(self) -> None:
        made: Any = sp.Limits(100, 2)

        assert made.__replace__(max_record_bytes=200) == sp.Limits(200, 2)
        with pytest.raises(ValueError, match="max_record_bytes is 5"):
            made.__replace__(max_record_bytes=5)


class TestNamedTuple:
    @pytest.mark.parametrize("light", [sp.UserRecord, sp.ReceivedRecord, KinesisRecord, LightTuple])
    def test_has_what_the_original_has(self, light: Any) -> None:
        fields = [(name, light.__annotations__[name]) for name in light._fields]
        original: Any = typing.NamedTuple(light.__name__, fields)  # type: ignore[misc]

        assert issubclass(light, tuple)
        assert light.__module__ in ("shardpack.records", "shardpack.unpacking.shapes", __name__)
        assert light._fields == original._fields
        assert light.__match_args__ == original.__match_args__
        assert not hasattr(light(*light._fields), "__dict__")
        assert light(*light._fields) == original(*light._fields) == light._fields
        assert light(*light._fields)._asdict() == original(*light._fields)._asdict()
        assert pickle.loads(pickle.dumps(light(*light._fields))) == light._fields

    @pytest.mark.parametrize("call", ["_replace", "__replace__"])
    def test_is_made_and_replaced_as_the_original_is(self, call: str) -> None:
        light: Any = LightTuple(1, "2")
        original: Any = OriginalTuple(1, "2")
        replace = getattr(light, call)

        assert replace(right=None) == original._replace(right=None) == (1, None)
        assert type(replace(left=3)) is LightTuple
        assert light._make(iter([1, "2"])) == original._make(iter([1, "2"])) == (1, "2")
        assert repr(light) == repr(original).replace("Original", "Light")
        for ours, theirs in (
            (lambda: replace(up=1, down=2), lambda: original._replace(up=1, down=2)),
            (lambda: light._make([1]), lambda: original._make([1])),
            (lambda: light._make([1, "2", 3]), lambda: original._make([1, "2", 3])),
        ):
            assert raised_by(ours) == raised_by(theirs)

    def test_fields_with_defaults_come_last(self) -> None:
        with pytest.raises(TypeError, match="a field of Wrong without a default follows one that has one: a, b"):

            class Wrong(NamedTuple):
                a: int = 0
                b: int  # type: ignore[misc]

    def test_keeps_defaults_and_methods(self) -> None:
        assert LightTuple(1) == (1, None)
        assert LightTuple._field_defaults == {"right": None}
        assert LightTuple(1, "2").both == "12"
