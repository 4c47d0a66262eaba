package shardpack.interop;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsAsyncClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.LeaseCleanupConfig;
import software.amazon.kinesis.common.StreamConfig;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.CoordinatorConfig.ClientVersionConfig;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.leases.LeaseAssignmentStrategy;
import software.amazon.kinesis.leases.LeaseManagementConfig;
import software.amazon.kinesis.leases.LeaseManagementConfig.WorkerUtilizationAwareAssignmentConfig;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.processor.FormerStreamsLeasesDeletionStrategy;
import software.amazon.kinesis.processor.MultiStreamTracker;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;
import software.amazon.kinesis.worker.metric.OperatingRange;
import software.amazon.kinesis.worker.metric.impl.linux.LinuxCpuWorkerMetric;

/**
 * A KCL application, until standard input ends. Each argument is a name, "=" and a value:
 *
 * <ul>
 *   <li>kinesis, dynamodb: where they are.
 *   <li>stream: the stream's name, or account:stream:epoch of each of several, with commas between them.
 *   <li>application, worker: their names.
 *   <li>stopAfter: where it is not 0, it checkpoints exactly at the user record of that number in each shard, and does
 *       nothing with those that follow. Else it checkpoints after each batch.
 *   <li>strategy: how it assigns leases while it leads.
 *   <li>metric: what it reports of its load: "throughput" of its leases or "cpu" of the machine.
 *   <li>version: its ClientVersionConfig, without what all of them begin with.
 * </ul>
 *
 * <p>Each line of standard output is a JSON object: what happened, in which shard, and the user record or position.
 */
public final class KclRead {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final InitialPositionInStreamExtended BEGINNING =
            InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    private KclRead() {}

    public static void main(String[] args) throws Exception {
        System.setProperty("aws.cborEnabled", "false"); // the local servers speak JSON
        Map<String, String> given = new HashMap<>();
        for (String arg : args) {
            given.put(arg.substring(0, arg.indexOf('=')), arg.substring(arg.indexOf('=') + 1));
        }
        int stopAfter = Integer.parseInt(given.get("stopAfter"));
        URI dynamodb = URI.create(given.get("dynamodb"));
        KinesisAsyncClient client = local(KinesisAsyncClient.builder(), URI.create(given.get("kinesis"))).build();
        String stream = given.get("stream");
        PollingConfig polling =
                stream.contains(":") ? new PollingConfig(client) : new PollingConfig(stream, client);
        ConfigsBuilder configs = new ConfigsBuilder(
                stream.contains(":") ? new Streams(stream.split(",")) : new SingleStreamTracker(stream, BEGINNING),
                given.get("application"),
                client,
                local(DynamoDbAsyncClient.builder(), dynamodb).build(),
                local(CloudWatchAsyncClient.builder(), dynamodb).build(), // never asked: metrics are off
                given.get("worker"),
                new Processors(stopAfter));
        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig()
                        .clientVersionConfig(
                                ClientVersionConfig.valueOf("CLIENT_VERSION_CONFIG_" + given.get("version")))
                        .parentShardPollIntervalMillis(200)
                        .shardConsumerDispatchPollIntervalMillis(50),
                quick(configs.leaseManagementConfig(), given.get("metric"))
                        .leaseAssignmentStrategy(LeaseAssignmentStrategy.valueOf(given.get("strategy")))
                        .failoverTimeMillis(3000)
                        .leaseAssignmentIntervalMillis(2000L)
                        // Else it does not know the range of a new shard for 30 s, and drops nothing from there.
                        .maxCacheMissesBeforeReload(0)
                        .shardSyncIntervalMillis(1000),
                configs.lifecycleConfig().taskBackoffTimeMillis(100),
                configs.metricsConfig().metricsLevel(MetricsLevel.NONE),
                configs.processorConfig(),
                configs.retrievalConfig().retrievalSpecificConfig(polling.idleTimeBetweenReadsInMillis(200)));
        Thread thread = new Thread(scheduler, "scheduler");
        thread.setDaemon(true);
        thread.start();
        while (System.in.read() != -1) {
            // what is written there does not matter, only that it ends
        }
        boolean stopped = scheduler.startGracefulShutdown().get(30, TimeUnit.SECONDS);
        print("stopped", "", Map.of("gracefully", stopped));
        System.exit(0);
    }

    /** A fleet in which a dead leader is found out within seconds, a new worker too, and finished leases go soon. */
    private static LeaseManagementConfig quick(LeaseManagementConfig config, String metric)
            throws ReflectiveOperationException {
        WorkerUtilizationAwareAssignmentConfig reports = config.workerUtilizationAwareAssignmentConfig();
        reports.workerMetricsReporterFreqInMillis(5000);
        if (metric.equals("cpu")) {
            OperatingRange full = OperatingRange.builder().maxUtilization(100).build();
            reports.workerMetricList(List.of(new LinuxCpuWorkerMetric(full)));
        }
        // The KCL has no setter for this, and would look for finished leases every five minutes.
        Field cleanup = LeaseManagementConfig.class.getDeclaredField("leaseCleanupConfig");
        cleanup.setAccessible(true);
        cleanup.set(
                config,
                LeaseCleanupConfig.builder()
                        .leaseCleanupIntervalMillis(1000)
                        .completedLeaseCleanupIntervalMillis(1000)
                        .garbageLeaseCleanupIntervalMillis(60_000)
                        .build());
        return config.dynamoDbLockBasedLeaderLeaseDurationInMillis(12000)
                .dynamoDbLockBasedLeaderHeartbeatPeriodInMillis(2000);
    }

    /** Several streams, always the same. */
    private static final class Streams implements MultiStreamTracker {
        private final List<StreamConfig> streams;

        Streams(String[] identifiers) {
            streams = Stream.of(identifiers)
                    .map(one -> new StreamConfig(StreamIdentifier.multiStreamInstance(one), BEGINNING))
                    .toList();
        }

        @Override
        public List<StreamConfig> streamConfigList() {
            return streams;
        }

        @Override
        public FormerStreamsLeasesDeletionStrategy formerStreamsLeasesDeletionStrategy() {
            return new FormerStreamsLeasesDeletionStrategy.NoLeaseDeletionStrategy();
        }
    }

    private static <B extends AwsClientBuilder<B, ?> & AwsAsyncClientBuilder<B, ?>> B local(B builder, URI endpoint) {
        AwsCredentialsProvider anyone = StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
        builder.endpointOverride(endpoint).region(Region.US_EAST_1).credentialsProvider(anyone);
        return builder.httpClientBuilder(NettyNioAsyncHttpClient.builder()
                        .protocol(Protocol.HTTP1_1)
                        .connectionTimeout(Duration.ofSeconds(10)));
    }

    private static void print(String event, String shard, Map<String, ?> more) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("event", event);
        line.put("shard", shard);
        line.putAll(more);
        try {
            String json = JSON.writeValueAsString(line);
            synchronized (OUT) {
                OUT.println(json);
                OUT.flush();
            }
        } catch (com.fasterxml.jackson.core.JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }

    private static final class Processors implements ShardRecordProcessorFactory {
        private final int stopAfter;

        Processors(int stopAfter) {
            this.stopAfter = stopAfter;
        }

        @Override
        public ShardRecordProcessor shardRecordProcessor() {
            return new Processor(stopAfter, "");
        }

        @Override
        public ShardRecordProcessor shardRecordProcessor(StreamIdentifier stream) {
            boolean isOneOfSeveral = stream.streamCreationEpochOptional().isPresent();
            return new Processor(stopAfter, isOneOfSeveral ? stream.serialize() + ":" : "");
        }
    }

    private static final class Processor implements ShardRecordProcessor {
        private final int stopAfter;
        private final String stream;
        private String shard;
        private int count;

        Processor(int stopAfter, String stream) {
            this.stopAfter = stopAfter;
            this.stream = stream;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = stream + input.shardId();
            print(
                    "initialized",
                    shard,
                    Map.of(
                            "sequence_number", input.extendedSequenceNumber().sequenceNumber(),
                            "sub_sequence_number", input.extendedSequenceNumber().subSequenceNumber()));
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            try {
                for (KinesisClientRecord record : input.records()) {
                    if (stopAfter > 0 && count == stopAfter) {
                        return;
                    }
                    count++;
                    print("record", shard, fields(record));
                    if (count == stopAfter) {
                        input.checkpointer().checkpoint(record.sequenceNumber(), record.subSequenceNumber());
                        print("checkpointed", shard, Map.of());
                    }
                }
                if (stopAfter == 0) {
                    input.checkpointer().checkpoint();
                }
            } catch (InvalidStateException | ShutdownException error) {
                print("error", shard, Map.of("error", error.toString()));
            }
        }

        private static Map<String, Object> fields(KinesisClientRecord record) {
            byte[] data = new byte[record.data().remaining()];
            record.data().duplicate().get(data);
            Map<String, Object> fields = new LinkedHashMap<>();
            fields.put("at", System.currentTimeMillis());
            fields.put("sequence_number", record.sequenceNumber());
            fields.put("sub_sequence_number", record.subSequenceNumber());
            fields.put("aggregated", record.aggregated());
            fields.put("partition_key", record.partitionKey());
            fields.put("explicit_hash_key", record.explicitHashKey());
            fields.put("data", data);
            return fields;
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            print("lease lost", shard, Map.of());
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(input.checkpointer());
            print("ended", shard, Map.of());
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            print("asked", shard, Map.of());
            if (stopAfter == 0) {
                checkpoint(input.checkpointer());
            }
        }

        private void checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
            } catch (InvalidStateException | ShutdownException error) {
                print("error", shard, Map.of("error", error.toString()));
            }
        }
    }
}
