"""The options of the source and of the sink: what they mean, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from shardpack.ranges.core.options import Start
from shardpack.spark.core.options import duration, position, sink_options, source_options


def read(**given: str) -> Any:
    return source_options({"streamName": "clicks", **given}, is_stream=True)


def read_batch(**given: str) -> Any:
    return source_options({"streamName": "clicks", **given}, is_stream=False)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("latest", Start("latest")),
        ("TRIM_HORIZON", Start("trim_horizon")),
        (" earliest ", Start("trim_horizon")),
        ("2026-07-21T12:30:00Z", Start("at_timestamp", time=1_784_637_000_000)),
        ("2026-07-21T14:30:00.250+02:00", Start("at_timestamp", time=1_784_637_000_250)),
        ('{"at_timestamp": "2026-07-21T12:30:00Z"}', Start("at_timestamp", time=1_784_637_000_000)),
        ('{"at_timestamp": 5}', Start("at_timestamp", time=5)),
        ("leases:my-Table", Start("leases", table="my-Table")),
        ('{"shards": {}}', Start("offset", offset={"shards": {}})),
    ],
)
def test_positions(text: str, start: Start) -> None:
    assert position(text) == start


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("400ms", 400),
        ("30s", 30000),
        ("10 minutes", 600000),
        ("1 Hour", 3600000),
        ("2d", 172800000),
        ("0s", 0),
        ("5 milliseconds", 5),
        ("1m", 60000),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert duration(text) == milliseconds


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"initialPosition": "yesterday"}, "the option initialPosition is 'yesterday'; give latest, trim_horizon,"),
        ({"initialPosition": "at_timestamp"}, "say which time: {"),
        ({"initialPosition": "leases:"}, "leases:<DynamoDB table>"),
        ({"initialPosition": "2026-07-21T12:30:00"}, "it has no time zone; write 2026-07-21T12:30:00Z"),
        ({"initialPosition": '{"at_timestamp": "07/21/2026", "format": "MM/dd/yyyy"}'}, "times are in ISO 8601"),
        ({"initialPosition": "{"}, "initialPosition is '{'; give latest"),
        ({"initialPosition": "[1]"}, "initialPosition is '[1]'; give latest"),
        ({"initialPosition": '{"at_timestamp": true}'}, "give latest"),
        ({"initialPosition": '{"at_timestamp": ' + "9" * 30 + "}"}, "give latest"),
        ({"initialPosition": '{"a":' + "[" * 100_000}, "give latest"),
        ({"streamName": "x" * 500}, "the option streamName: stream_name is 'xxx"),
        ({"maxRecordsPerFetch": "10001"}, "maxRecordsPerFetch is '10001'; give a whole number from 1 to 10,000"),
        ({"maxRowsPerTrigger": "1.5"}, "maxRowsPerTrigger is '1.5'; give a whole number from 1"),
        ({"maxRowsPerTrigger": "9" * 5000}, "give a whole number from 1"),
        ({"maxFetchRate": "5"}, "maxFetchRate is '5'; give a number from 0.01 to 2"),
        ({"maxTimePerTrigger": "10"}, "maxTimePerTrigger is '10'; give a time such as 400ms"),
        ({"failOnDataLoss": "no"}, "failOnDataLoss is 'no'; give true or false"),
        ({"consumerMode": "push"}, "consumerMode is 'push'; choose polling or efo"),
        ({"consumerMode": "efo"}, 'consumerMode is "efo" and there is no consumerName; name'),
        ({"region": " "}, "region is ' '; give a text that is not empty, or leave it out"),
        ({"streamName": "a,b"}, "streamName is 'a,b'; a query reads one stream. Read each, and unite them"),
        ({"streamARN": "clicks"}, "streamARN is 'clicks'; an ARN begins with arn:"),
        ({"awsAccessKey": "A"}, "awsAccessKey and awsSecretKey there is one; give both"),
        ({"initialPostion": "latest"}, "no option 'initialPostion'; did you mean initialPosition"),
        ({"qzx": "1"}, "no option 'qzx'; the options are awsAccessKey, "),
        ({"shardsPerTask": "5"}, "shardsPerTask has no meaning here: a task reads one shard. Leave it out"),
        ({"sliceTime": "1h"}, "sliceTime is not one of this read; it goes with spark.read. Leave it out"),
        ({"route": "any"}, "route is not one of this read; it goes with df.write and df.writeStream"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_give(given: dict[str, str], what: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is looked at below
        read(**given)
    assert what in str(caught.value)


def test_a_stream_has_to_be_named() -> None:
    with pytest.raises(ValueError, match=r'there is no option streamName; give the name .*option\("streamName"'):
        source_options({}, is_stream=True)


@pytest.mark.parametrize("end", ["trim_horizon", "leases:table"])
def test_a_range_ends_where_something_can_end(end: str) -> None:
    with pytest.raises(ValueError, match=r"endPosition is '.*'; give latest, a time such as"):
        read_batch(endPosition=end)


def test_names_are_read_in_any_case_and_by_those_of_the_connector_and_sparks_own_are_passed_over() -> None:
    options = source_options(
        {
            "streamname": "clicks",
            "ENDPOINT": "http://localhost:4567",
            "awsAccessKeyId": "A",
            "awssecretkey": "S",
            "checkpointLocation": "/tmp/c",
            "path": "p",
        },
        is_stream=True,
    )
    assert options.connection.endpoint_url == "http://localhost:4567"
    assert (options.connection.access_key, options.connection.secret_key) == ("A", "S")


def test_defaults() -> None:
    assert read().initial == Start("latest")
    assert read_batch().initial == Start("trim_horizon")
    assert read().fail_on_data_loss
    assert sink_options({"streamName": "s"}).aggregation


def test_no_secret_is_shown() -> None:
    options = read(awsAccessKey="AKIA", awsSecretKey="hush", sessionToken="hush", roleExternalId="hush")
    assert "hush" not in repr(options)
    assert "AKIA" not in repr(options)
    assert "'clicks'" in repr(options)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"route": "round"}, "the option route is 'round'; choose shard, key or any"),
        ({"aggregationMaxSize": "10"}, "aggregationMaxSize is '10'; give a whole number from 64 to 10,485,760"),
        ({"recordTtl": "0s"}, "recordTtl is '0s'; give at least 100 ms"),
        ({"route": "any", "ordering": "key"}, "ordering is key and route is any;"),
        ({"initialPosition": "latest"}, "initialPosition is not one of this write; it goes with spark.read and"),
        ({"maxRowsPerTrigger": "5"}, "maxRowsPerTrigger is not one of this write; it goes with spark.readStream"),
    ],
)
def test_what_is_wrong_with_a_write_is_named_too(given: dict[str, str], what: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is looked at below
        sink_options({"streamName": "s", **given})
    assert what in str(caught.value)
