"""The defaults of the settings that docs/coming-from maps, as the other libraries' own sources have them.

tests/interop/test_interop_settings.py reads those of the KPL and the KCL from their classes, and compares.
"""

from __future__ import annotations

from typing import TypeAlias

Default: TypeAlias = bool | int | float | str

# KinesisProducerConfiguration of the KPL 1.1.1; durations in milliseconds.
KPL: dict[str, Default] = {
    "aggregationEnabled": True,
    "aggregationMaxCount": 4294967295,
    "aggregationMaxSize": 51200,
    "collectionMaxCount": 500,
    "collectionMaxSize": 5242880,
    "recordMaxBufferedTime": 100,
    "recordTtl": 30000,
    "rateLimit": 150,
    "failIfThrottled": False,
    "maxConnections": 24,
    "connectTimeout": 6000,
    "requestTimeout": 6000,
    "metricsLevel": "detailed",
    "metricsGranularity": "shard",
}
# Its other fields.
KPL_WITHOUT_COUNTERPART = frozenset(
    [
        "additionalDims",
        "caCertFile",
        "caCertPath",
        "cloudwatchEndpoint",
        "cloudwatchPort",
        "credentialsProvider",
        "credentialsRefreshDelay",
        "daemonHealthCheckTimeoutMs",
        "describeStreamSummaryIntervalMs",
        "enableCoreDumps",
        "enableDaemonHealthCheck",
        "enableOldestFutureTracker",
        "glueSchemaRegistryConfiguration",
        "glueSchemaRegistryCredentialsProvider",
        "glueSchemaRegistryPropertiesFilePath",
        "kinesisEndpoint",
        "kinesisPort",
        "logLevel",
        "maxUserRecordSize",
        "metricsCredentialsProvider",
        "metricsNamespace",
        "metricsUploadDelay",
        "minConnections",
        "nativeExecutable",
        "proxyHost",
        "proxyPassword",
        "proxyPort",
        "proxyUserName",
        "recordDistributionStrategyDefault",
        "region",
        "returnUserRecordOnFailure",
        "stsEndpoint",
        "stsPort",
        "tempDirectory",
        "threadPoolSize",
        "threadingModel",
        "userRecordTimeoutInMillis",
        "verifyCertificate",
    ]
)

# The KCL 3.5.1, by class.
KCL_CLASSES: dict[str, dict[str, Default]] = {
    "leases.LeaseManagementConfig": {
        "failoverTimeMillis": 10000,
        "shardSyncIntervalMillis": 60000,
        "maxLeasesForWorker": 2147483647,
        "maxLeasesToStealAtOneTime": 1,
    },
    "leases.LeaseManagementConfig$GracefulLeaseHandoffConfig": {"gracefulLeaseHandoffTimeoutMillis": 30000},
    "retrieval.polling.PollingConfig": {
        "maxRecords": 10000,
        "idleTimeBetweenReadsInMillis": 1500,
        "kinesisRequestTimeout": 30,
    },
    "retrieval.polling.SimpleRecordsFetcherFactory": {"maxByteSize": 8388608},
    "metrics.MetricsConfig": {"metricsLevel": "DETAILED"},
    "retrieval.RetrievalConfig": {"initialPositionInStreamExtended": "LATEST"},
}
KCL = {name: default for settings in KCL_CLASSES.values() for name, default in settings.items()}

# Config of aiokpl 0.2.0; durations in milliseconds.
AIOKPL: dict[str, Default] = {
    "aggregation_enabled": True,
    "aggregation_max_count": 4294967295,
    "aggregation_max_size": 51200,
    "collection_max_count": 500,
    "collection_max_size": 5242880,
    "record_max_buffered_time_ms": 100,
    "record_ttl_ms": 30000,
    "rate_limit_records_per_sec_per_shard": 1000,
    "rate_limit_bytes_per_sec_per_shard": 1048576,
    "fail_if_throttled": False,
    "max_outstanding_records": 100000,
    "metrics_level": "none",
}

# Producer, Consumer and DynamoDBCheckPointer of async-kinesis 3.0.1.
ASYNC_KINESIS: dict[str, Default] = {
    "buffer_time": 0.5,
    "batch_size": 500,
    "max_queue_size": 10000,
    "put_rate_limit_per_shard": 1000,
    "put_bandwidth_limit_per_shard": 1024,
    "record_limit": 10000,
    "sleep_time_no_records": 2,
    "iterator_type": "TRIM_HORIZON",
    "session_timeout": 60,
}
