package shardpack.interop;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
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
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.leases.LeaseAssignmentStrategy;
import software.amazon.kinesis.leases.LeaseManagementConfig;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A KCL application, until standard input ends: KclRead kinesis dynamodb stream application worker stopAfter
 * strategy.
 *
 * <p>Each line of standard output is a JSON object: what happened, in which shard, and the user record or position. It
 * checkpoints after each batch; where stopAfter is not 0, it checkpoints exactly at the user record of that number in
 * each shard, and does nothing with those that follow. The strategy is how it assigns leases while it leads.
 */
public final class KclRead {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    private KclRead() {}

    public static void main(String[] args) throws Exception {
        System.setProperty("aws.cborEnabled", "false"); // the local servers speak JSON
        URI kinesis = URI.create(args[0]);
        URI dynamodb = URI.create(args[1]);
        int stopAfter = Integer.parseInt(args[5]);
        KinesisAsyncClient client = local(KinesisAsyncClient.builder(), kinesis).build();
        ConfigsBuilder configs = new ConfigsBuilder(
                new SingleStreamTracker(
                        args[2], InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON)),
                args[3],
                client,
                local(DynamoDbAsyncClient.builder(), dynamodb).build(),
                local(CloudWatchAsyncClient.builder(), dynamodb).build(), // never asked: metrics are off
                args[4],
                () -> new Processor(stopAfter));
        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig()
                        .parentShardPollIntervalMillis(200)
                        .shardConsumerDispatchPollIntervalMillis(50),
                quick(configs.leaseManagementConfig(), LeaseAssignmentStrategy.valueOf(args[6]))
                        .failoverTimeMillis(3000)
                        .leaseAssignmentIntervalMillis(2000L)
                        // Else it does not know the range of a new shard for 30 s, and drops nothing from there.
                        .maxCacheMissesBeforeReload(0)
                        .shardSyncIntervalMillis(1000),
                configs.lifecycleConfig().taskBackoffTimeMillis(100),
                configs.metricsConfig().metricsLevel(MetricsLevel.NONE),
                configs.processorConfig(),
                configs.retrievalConfig()
                        .retrievalSpecificConfig(new PollingConfig(args[2], client).idleTimeBetweenReadsInMillis(200)));
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

    /** A fleet in which a dead leader is found out within seconds, and a new worker too. */
    private static LeaseManagementConfig quick(LeaseManagementConfig config, LeaseAssignmentStrategy strategy) {
        config.workerUtilizationAwareAssignmentConfig().workerMetricsReporterFreqInMillis(2000);
        return config.leaseAssignmentStrategy(strategy)
                .dynamoDbLockBasedLeaderLeaseDurationInMillis(6000)
                .dynamoDbLockBasedLeaderHeartbeatPeriodInMillis(1500);
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

    private static final class Processor implements ShardRecordProcessor {
        private final int stopAfter;
        private String shard;
        private int count;

        Processor(int stopAfter) {
            this.stopAfter = stopAfter;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
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
