package shardpack.interop;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.util.concurrent.ListenableFuture;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordFailedException;
import software.amazon.kinesis.producer.UserRecordResult;

/**
 * Puts user records with the KPL: KplPut port stream folder recordMaxBufferedTime aggregationMaxCount.
 *
 * <p>A line of standard input is the partition key and the data, in Base64, and the explicit hash key or "-"; a line of
 * standard output, in the same order, is a JSON object with the shard, the sequence number and the number of attempts,
 * or the error.
 */
public final class KplPut {
    private static final int MOST_OUTSTANDING = 20_000;
    private static final ObjectMapper JSON = new ObjectMapper();

    private KplPut() {}

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        KinesisProducer producer = new KinesisProducer(configuration(args));
        String stream = args[1];
        List<ListenableFuture<UserRecordResult>> futures = new ArrayList<>();
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                while (producer.getOutstandingRecordsCount() > MOST_OUTSTANDING) {
                    Thread.sleep(1); // the KPL has no back-pressure of its own
                }
                String[] fields = line.split(" ", -1);
                futures.add(producer.addUserRecord(
                        stream,
                        new String(Base64.getDecoder().decode(fields[0]), StandardCharsets.UTF_8),
                        fields[2].equals("-") ? null : fields[2],
                        ByteBuffer.wrap(Base64.getDecoder().decode(fields[1]))));
            }
        }
        producer.flushSync();
        for (ListenableFuture<UserRecordResult> future : futures) {
            out.println(JSON.writeValueAsString(answer(future)));
        }
        out.flush();
        producer.destroy();
        System.exit(0);
    }

    private static KinesisProducerConfiguration configuration(String[] args) {
        return new KinesisProducerConfiguration()
                .setRegion("us-east-1")
                .setKinesisEndpoint("127.0.0.1")
                .setKinesisPort(Integer.parseInt(args[0]))
                .setStsEndpoint("127.0.0.1") // it asks who it is, and does without an answer
                .setStsPort(Integer.parseInt(args[0]))
                .setVerifyCertificate(false)
                .setMetricsLevel("none")
                .setCredentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
                .setTempDirectory(args[2])
                .setRecordMaxBufferedTime(Integer.parseInt(args[3]))
                .setAggregationMaxCount(Long.parseLong(args[4]))
                .setRecordTtl(20_000)
                .setLogLevel("warning");
    }

    private static Map<String, Object> answer(ListenableFuture<UserRecordResult> future) throws InterruptedException {
        try {
            UserRecordResult result = future.get();
            return Map.of(
                    "shard", result.getShardId(),
                    "sequence_number", result.getSequenceNumber(),
                    "attempts", result.getAttempts().size());
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UserRecordFailedException failed) {
                return Map.of("error", failed.getResult().getAttempts().stream()
                        .map(attempt -> attempt.getErrorCode() + " " + attempt.getErrorMessage())
                        .distinct()
                        .collect(Collectors.joining("; ")));
            }
            return Map.of("error", String.valueOf(error.getCause()));
        }
    }
}
