"""Immutable values whose classes cost little to make.

A Lambda function pays for every import at each cold start. `typing` and `dataclasses` load `re`, `enum`, `inspect` and
`ast`, which take longer than all else that reading a first record needs. The two bases here give what is used of them
on the way from a Kinesis record to its user records. Type checkers see the originals.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False  # type checkers take any name like this for True; the one in `typing` would load `typing`

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple, dataclass_transform

    @dataclass_transform(frozen_default=True)
    class Value:
        """Stands for the class below, because `dataclass_transform` is in `typing`."""


__all__ = ["TYPE_CHECKING", "NamedTuple", "Value"]

_MADE_BY_PYTHON = {"__module__", "__qualname__", "__annotations__", "__static_attributes__", "__firstlineno__"}


class _NamedTuples(type):
    """Makes a named tuple of an annotated class, as `typing.NamedTuple` does."""

    def __new__(cls, name: str, _bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        fields = namespace.get("__annotations__", {})
        defaults = [namespace[field] for field in fields if field in namespace]
        made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])  # type: ignore[misc]  # noqa: PYI024
        made.__annotations__ = fields
        for attribute in namespace.keys() - fields.keys() - _MADE_BY_PYTHON:
            setattr(made, attribute, namespace[attribute])
        return made


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
    NamedTuple = type.__new__(_NamedTuples, "NamedTuple", (), {})
    """`typing.NamedTuple`, without `typing`."""

    Value = _Value
