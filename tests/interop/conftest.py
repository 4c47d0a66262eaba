"""The local servers that Java and we share; a module that needs another Kinesis says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import servers


@pytest.fixture(scope="module")
def kinesis() -> Iterator[str]:
    with servers.kinesalite() as url:
        yield url


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[str]:
    with servers.dynalite() as url:
        yield url
