"""Every public name, by the module that it is imported from; what is not here may change."""

from __future__ import annotations

import shardpack as sp

PUBLIC = [
    *(
        (f"shardpack.{module}", name)
        for module, names in {
            "arrow": "PACKED_SCHEMA SCHEMA pack_batches read_stream to_table unpack_batches unpacked_schema",
            "aws_lambda": "DynamoDBProgress InvokeFunction Progress PutAgain SQLiteProgress process replay",
            "compat.aws_kinesis_agg": "AggRecord RecordAggregator deaggregate_records iter_deaggregate_records",
            "compat.aws_kinesis_agg.aggregator": "AggRecord RecordAggregator",
            "compat.aws_kinesis_agg.deaggregator": "deaggregate_records iter_deaggregate_records",
            "consumer": "AsyncBatch AsyncConsumer Batch Consumer ConsumerConfig DynamoDBLeases Lease Leases"
            " MemoryLeases SQLiteLeases",
            "dedup": "Deduplicator RecordDigest",
            "density": "Growth Measurement Overhead Point Prices Row Sampling Spread Strategy measure usual_strategies",
            "errors": "ShardpackError",
            "firehose": "Transformed transform",
            "hashing": "Shard ShardMap hash_key",
            "leases": "DynamoDBLeases Lease Leases MemoryLeases SQLiteLeases",
            "limits": "Limits",
            "multilang": "Batch Checkpointer RecordProcessor run run_each run_processor",
            "polars": "scan_kinesis",
            "producer": "METRIC_NAMES AsyncProducer Attempt Delivery Producer ProducerConfig ProducerStats Statistics",
            "ray": "KinesisDatasink KinesisDatasource",
            "records": "PackedRecord Position ReceivedRecord UserRecord",
            "spark": "SCHEMA register unpack unpacked",
            "testing": "AsyncFakeKinesis Call Clock FakeKinesis ManualClock Script SystemClock strategies",
            "wire": "decode encode is_aggregated",
        }.items()
        for name in names.split()
    ),
    *(("shardpack", name) for name in sp.__all__),
]
