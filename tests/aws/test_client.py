"""Making a client: what is missing is told with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import shardpack as sp

botocore = pytest.importorskip("botocore.exceptions")


def test_without_a_region_the_error_says_where_to_give_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(botocore.NoRegionError) as told:
        sp.Producer("clicks")
    assert told.value.__notes__ == [
        "no AWS region is set: name one (--region, or region_name in Python), set AWS_DEFAULT_REGION, or choose a"
        " profile that has one"
    ]
    with pytest.raises(sp.LeaseStoreError, match=r"lease table 'x': NoRegionError: no AWS region is set: name one"):
        sp.DynamoDBLeases("x").prepare()
