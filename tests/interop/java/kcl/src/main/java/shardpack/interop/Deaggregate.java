package shardpack.interop;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/**
 * What the KCL's AggregatorUtil delivers of each Kinesis record.
 *
 * <p>A line of standard input is the data in Base64, the shard's starting and its ending hash key; a line of standard
 * output is a JSON list with one [partition key, explicit hash key, sub-sequence number, aggregated, data] for each
 * user record, or the name of what was thrown.
 */
public final class Deaggregate {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Deaggregate() {}

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                String[] fields = line.split(" ", -1);
                byte[] data = Base64.getDecoder().decode(fields[0]);
                out.println(JSON.writeValueAsString(
                        answer(data, new BigInteger(fields[1]), new BigInteger(fields[2]))));
            }
        }
        out.flush();
    }

    private static Object answer(byte[] data, BigInteger starting, BigInteger ending) {
        KinesisClientRecord record = KinesisClientRecord.builder()
                .data(ByteBuffer.wrap(data))
                .partitionKey("outer")
                .sequenceNumber("1")
                .build();
        try {
            List<Object> delivered = new ArrayList<>();
            // A list that can be written to: the KCL hands over what the SDK made.
            for (KinesisClientRecord user :
                    new AggregatorUtil().deaggregate(new ArrayList<>(List.of(record)), starting, ending)) {
                delivered.add(row(user));
            }
            return delivered;
        } catch (Throwable thrown) { // NoClassDefFoundError would be the KCL's own answer too
            return Map.of("thrown", thrown.toString());
        }
    }

    private static List<Object> row(KinesisClientRecord user) {
        ByteBuffer data = user.data().duplicate();
        byte[] bytes = new byte[data.remaining()];
        data.get(bytes);
        return Arrays.asList(
                user.partitionKey(), user.explicitHashKey(), user.subSequenceNumber(), user.aggregated(), bytes);
    }
}
