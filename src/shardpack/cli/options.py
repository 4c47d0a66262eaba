"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

InputFile = Annotated[str, typer.Argument(metavar="FILE", help="The input; - is standard input, as is none at all.")]
KeyField = Annotated[
    str | None,
    typer.Option(
        "--key", "-k", metavar="FIELD", help="Lines are JSON; this field is the partition key. Dots lead inside."
    ),
]

Region = Annotated[str | None, typer.Option(metavar="NAME", help="The AWS region.")]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="The profile in the AWS configuration.")]
EndpointURL = Annotated[str | None, typer.Option(metavar="URL", help="A VPC endpoint, or a local server.")]


class HashKeys(StrEnum):
    """Choices of --hash-keys."""

    PINNED = "pinned"
    KPL = "kpl"
