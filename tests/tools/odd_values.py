"""Values of wrong types and odd sizes, and what may come of handing them to a public function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

import shardpack as sp

# What Python itself says when something is used as what it is not.
FROM_INSIDE = re.compile(
    r"object is not (iterable|callable|subscriptable)|has no attribute|positional argument|unexpected keyword"
    r"|not supported between|cannot unpack|values to unpack|bytes-like object is required|index-sized|can't multiply"
    r"|codec can't|object cannot be interpreted|Exceeds the limit|too large to convert|int\(\) argument|float\(\) arg"
)


class Odd:
    """Something that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


HUGE = 10**5000  # which Python refuses to print, and so does hypothesis
ATOMS: list[Any] = [
    *(None, True, 0, -1, 2.5, -0.0, float("nan"), float("inf"), 1e308, 10**30, 10**400, HUGE, Decimal("NaN")),
    *("", "x", "\ud800", "9" * 5000, "1e400", b"", b"x", bytearray(b"x"), memoryview(b"xyz")[::2]),
    *(object(), Odd(), int, len, lambda *_: None),
]
odd_values = st.recursive(
    st.sampled_from([atom for atom in ATOMS if atom is not HUGE and not isinstance(atom, Odd)])
    | st.text(max_size=5)
    | st.integers()
    | st.floats()
    | st.binary(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.lists(inside, max_size=4).map(tuple)
        | st.lists(inside, max_size=3).map(lambda values: (value for value in values))
        | st.dictionaries(
            st.sampled_from(["Records", "Data", "ShardId", "HashKeyRange", "kinesis", "data", "recordId", "x"]), inside
        )
    ),
    max_leaves=6,
)

WITH_HUGE: list[Any] = [[HUGE], (HUGE,), ("k", HUGE), [[HUGE]], {HUGE: 1}, [Odd()], {"Records": [Odd()]}]
WITH_HUGE += [{name: HUGE} for name in ("x", "Records", "kinesis", "recordId", "data", "Data", "ShardId")]


Call = Callable[[Any], object]


def options(call: Callable[..., Any], *names: str) -> dict[str, Call]:
    return {f"{name}=": lambda value, name=name: call(**{name: value}) for name in names}  # type: ignore[misc]


def every_odd_value() -> Iterator[Any]:
    """Made anew, because iterators are among them."""
    yield from ATOMS
    yield from ([], (), {}, set(), [None], ["x"], [b"x"], ("k",), (1, 2, 3, 4, 5), {"x": 1}, iter([1]))
    yield from WITH_HUGE


def check(call: Call, value: Any) -> None:
    said = ""
    try:
        result = call(value)
        if isinstance(result, Iterable) and not isinstance(result, str | bytes | Mapping):
            list(result)
    except (sp.ShardpackError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
    assert not FROM_INSIDE.search(said), said
    assert len(said) < 1000, "a message as long as the value"
