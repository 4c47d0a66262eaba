"""How messages name the options of the source and of the sink."""

from __future__ import annotations

from ...ranges.core.words import Words

SPARK = Words(
    extra="shardpack[spark]",
    name="the option streamName",
    stream="the options streamName or streamARN, region and endpointUrl",
    place="the options region and endpointUrl",
    endpoint="the option endpointUrl",
    marks="the checkpoint",
    another="give the query the stream that it has read, or a checkpointLocation of its own",
    anew="Give the query a new checkpointLocation",
    no_region=(
        'there is no option region, and the AWS SDK finds none: .option("region", "eu-west-1"), or set'
        " AWS_DEFAULT_REGION on the driver and the executors"
    ),
    allow=(
        "give the driver and the executors a role with this permission, or set the options awsAccessKey and"
        " awsSecretKey, or roleArn"
    ),
    credentials="give the driver and the executors a role, or set the options awsAccessKey and awsSecretKey",
    go_on="set the option failOnDataLoss to false",
    gone_on="failOnDataLoss is false",
)
