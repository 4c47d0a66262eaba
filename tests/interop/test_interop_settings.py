"""The defaults that docs/coming-from tells are those of the KPL's and the KCL's own classes."""

from __future__ import annotations

import re

import pytest
from java_programs import disassembled
from peer_defaults import KCL_CLASSES, KPL, KPL_WITHOUT_COUNTERPART, Default

CONSTANT = re.compile(
    r"(?:[il]const_|[bs]ipush\s+)(?P<number>-?\d+)$"
    r"|ldc\w*\s+#\d+\s+// (?:int|long) (?P<pooled>-?\d+)l?$"
    r"|ldc\w*\s+#\d+\s+// String ?(?P<text>.*)$"
    r"|getstatic\s+#\d+\s+// Field (?:[\w/$]+\.)?(?P<name>\w+):"
)
PUT = re.compile(r"put(?:field|static)\s+#\d+\s+// Field (?:[\w/$]+\.)?(\w+):")
BUILDER_DEFAULT = re.compile(r" \$default\$(\w+)\(\);$")  # Lombok's, of a field that a builder may leave out


def initial_values(name: str, module: str) -> dict[str, Default | None]:
    """What a class puts into its fields when nobody says otherwise: the last constant before a field is set.

    The name of an enum's member stands for it, and an amount for a Duration.
    """
    found: dict[str, Default | None] = {}
    constructor = re.compile(rf"(?:\w+ )?{re.escape(name)}\(")
    for method in disassembled(name, module=module).split("\n\n"):
        header, *lines = map(str.strip, method.splitlines())
        default = BUILDER_DEFAULT.search(header)
        if not (default or constructor.match(header) or header == "static {};"):
            continue
        constant: Default | None = None
        for line in lines:
            if match := CONSTANT.search(line):
                number, text = match["number"] or match["pooled"], match["text"]
                constant = int(number) if number is not None else match["name"] if text is None else text
            elif match := PUT.search(line):
                found.setdefault(match[1], constant)
                constant = None
        if default:
            found[default[1]] = constant
    return {field: found.get(value, value) if isinstance(value, str) else value for field, value in found.items()}


def test_the_kpls() -> None:
    values = initial_values("software.amazon.kinesis.producer.KinesisProducerConfiguration", "kpl")
    assert {name: values[name] for name in KPL} == KPL
    assert values.keys() - {"log"} == KPL.keys() | KPL_WITHOUT_COUNTERPART


@pytest.mark.parametrize("name", KCL_CLASSES)
def test_the_kcls(name: str) -> None:
    values = initial_values(f"software.amazon.kinesis.{name}", "kcl")
    assert {setting: values[setting] for setting in KCL_CLASSES[name]} == KCL_CLASSES[name]
