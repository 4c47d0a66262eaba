"""Immutable values whose classes cost little to make.

A Lambda function pays for every import at each cold start. `typing` and `dataclasses` load `re`, `enum`, `inspect` and
`ast`, and `collections` and `functools` load `operator`, `keyword`, `reprlib` and `types`. They take longer than all
else that reading a first record needs. The two bases here give what is used of them on the way from a Kinesis record to
its user records. Type checkers see the originals.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # type checkers take any name like this for True; the one in `typing` would load `typing`

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NamedTuple, dataclass_transform

    def _tuplegetter(index: int, doc: str) -> Any:
        """A descriptor that gives a tuple's item."""

    @dataclass_transform(frozen_default=True)
    class Value:
        """Stands for the class below, because `dataclass_transform` is in `typing`."""


__all__ = ["TYPE_CHECKING", "NamedTuple", "Value"]


class _NamedTuples(type):
    """Makes a named tuple of an annotated class, as `typing.NamedTuple` does by `collections.namedtuple`."""

    def __new__(cls, name: str, _bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        annotations: dict[str, str] = namespace.get("__annotations__", {})
        fields = tuple(annotations)
        defaults = {field: namespace[field] for field in fields if field in namespace}
        if fields[len(fields) - len(defaults) :] != tuple(defaults):
            raise TypeError(f"a field of {name} without a default follows one that has one: {', '.join(fields)}")
        return type(
            name,
            (tuple,),
            {
                **_TUPLE_METHODS,
                **namespace,
                **{field: _tuplegetter(nth, f"Alias for field number {nth}") for nth, field in enumerate(fields)},
                "__slots__": (),
                "__new__": _tuple_new(namespace["__qualname__"], fields, tuple(defaults.values())),
                "__match_args__": fields,
                "_fields": fields,
                "_field_defaults": defaults,
            },
        )


def _tuple_new(owner: str, fields: tuple[str, ...], defaults: tuple[Any, ...]) -> Callable[..., Any]:
    # One function with the fields as its arguments, so that Python itself says what is wrong with a call.
    names = ", ".join(fields)
    made = eval(f"lambda _cls, {names}: _new(_cls, ({names},))", {"_new": tuple.__new__})  # noqa: S307  # as namedtuple does
    made.__name__, made.__qualname__, made.__defaults__ = "__new__", f"{owner}.__new__", defaults
    return made  # type: ignore[no-any-return]


def _make(cls: Any, values: Iterable[Any]) -> Any:
    """One of the values of its fields, in their order."""
    made = tuple.__new__(cls, values)
    if len(made) != len(cls._fields):
        raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
    return made


def _replace(self: Any, /, **changes: Any) -> Any:
    """One with other values in some fields."""
    made = self._make([changes.pop(field, value) for field, value in zip(self._fields, self, strict=True)])
    if changes:
        raise _UnexpectedError(f"Got unexpected field names: {list(changes)!r}")
    return made


_UnexpectedError = TypeError if sys.version_info >= (3, 13) else ValueError  # as `collections` has it


def _as_dict(self: Any) -> dict[str, Any]:
    """The values by the names of their fields, in their order."""
    return dict(zip(self._fields, self, strict=True))


def _repr(self: Any) -> str:
    values = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
    return f"{type(self).__name__}({values})"


_TUPLE_METHODS = {
    "_make": classmethod(_make),
    "_replace": _replace,
    "__replace__": _replace,  # `copy.replace` of Python 3.13
    "_asdict": _as_dict,
    "__repr__": _repr,
    "__getnewargs__": lambda self: tuple(self),  # for copy and pickle
}


class _Values(type):
    """Makes slots of the annotated fields of a class, and an ``__init__`` that sets them."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Values:
        annotations: dict[str, str] = namespace.get("__annotations__", {})
        fields = tuple(name for name, annotation in annotations.items() if "ClassVar" not in annotation)
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        made = super().__new__(cls, name, bases, {**namespace, "__slots__": fields, "__match_args__": fields})
        if fields:
            made.__init__ = _initializer(made, fields, defaults)  # type: ignore[misc]
        return made


def _initializer(owner: type, fields: tuple[str, ...], defaults: dict[str, Any]) -> Callable[..., None]:
    # One function with the fields as its arguments, so that Python itself says what is wrong with a call.
    arguments = ", ".join(f"{field}=_defaults[{field!r}]" if field in defaults else field for field in fields)
    steps = [f"_set(self, {field!r}, {field})" for field in fields]
    if hasattr(owner, "__post_init__"):
        steps.append("self.__post_init__()")
    made: dict[str, Callable[..., None]] = {}
    names = {"_set": object.__setattr__, "_defaults": defaults}
    exec(f"def __init__(self, {arguments}): {'; '.join(steps)}", names, made)  # noqa: S102  # as dataclasses do
    made["__init__"].__qualname__ = f"{owner.__qualname__}.__init__"
    return made["__init__"]


class _Value(metaclass=_Values):
    """A frozen dataclass with slots, without `dataclasses`.

    Its annotated fields are the arguments of its constructor, in their order. Values are equal when they are of one
    class and all fields are. They can be hashed, copied, pickled and matched.
    """

    if TYPE_CHECKING:
        __match_args__: tuple[str, ...]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable; make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable; {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return _fields_of(self) == _fields_of(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_fields_of(self))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({fields})"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), _fields_of(self)

    def __replace__(self, **changes: Any) -> _Value:  # `copy.replace` of Python 3.13
        return type(self)(**dict(zip(self.__match_args__, _fields_of(self), strict=True)) | changes)


def _fields_of(value: _Value) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in value.__match_args__)


if not TYPE_CHECKING:
    try:
        from _collections import _tuplegetter  # `collections` has it from there
    except ImportError:  # not CPython
        from collections import _tuplegetter

    NamedTuple = type.__new__(_NamedTuples, "NamedTuple", (), {})
    """`typing.NamedTuple`, without `typing`."""

    Value = _Value
