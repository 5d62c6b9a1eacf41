// SPDX-License-Identifier: Apache-2.0
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.AttributesBuilder;
import io.opentelemetry.api.common.Value;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentelemetry.sdk.trace.IdGenerator;
import java.io.PrintWriter;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * Client PLAN RECORD: sends the spans of the plan (../plan.py) with the OpenTelemetry SDK for Java,
 * configured from the environment alone, and writes down their ids. Where the other signals have an
 * exporter, too, each gets one thing to send with every flush.
 */
final class Client {
    private static final SpanKind[] KINDS = {null, SpanKind.INTERNAL, SpanKind.SERVER,
        SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER};
    private static final StatusCode[] STATUSES = {StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR};

    private final OpenTelemetrySdk sdk;
    private final List<SpanContext> made = new ArrayList<>();

    private Client(OpenTelemetrySdk sdk) {
        this.sdk = sdk;
    }

    /** Gives spans that are to be bad no id. */
    private static final class Ids implements IdGenerator {
        private final IdGenerator random = IdGenerator.random();
        private volatile boolean bad;

        @Override
        public String generateTraceId() {
            return random.generateTraceId();
        }

        @Override
        public String generateSpanId() {
            return bad ? "0000000000000000" : random.generateSpanId();
        }
    }

    private static double number(Object bits) {
        return Double.longBitsToDouble(new BigInteger((String) bits, 16).longValue());
    }

    private static <T> List<T> each(Object all, Function<Object, T> read) {
        List<T> found = new ArrayList<>();
        ((JSONArray) all).forEach(one -> found.add(read.apply(one)));
        return found;
    }

    private static Value<?> value(Object planned) {
        String kind = ((JSONObject) planned).keys().next();
        Object content = ((JSONObject) planned).get(kind);
        return switch (kind) {
            case "string" -> Value.of((String) content);
            case "bool" -> Value.of((boolean) content);
            case "int" -> Value.of(Long.parseLong((String) content));
            case "double" -> Value.of(number(content));
            case "bytes" -> Value.of(HexFormat.of().parseHex((String) content));
            case "strings" -> Value.of(each(content, one -> Value.of((String) one)));
            case "bools" -> Value.of(each(content, one -> Value.of((boolean) one)));
            case "ints" -> Value.of(each(content, one -> Value.of(Long.parseLong((String) one))));
            case "doubles" -> Value.of(each(content, one -> Value.of(number(one))));
            case "array" -> Value.of(each(content, Client::value));
            case "map" -> {
                Map<String, Value<?>> found = new LinkedHashMap<>();
                JSONObject map = (JSONObject) content;
                map.keySet().forEach(name -> found.put(name, value(map.get(name))));
                yield Value.of(found);
            }
            default -> throw new IllegalArgumentException(kind);
        };
    }

    private static void put(AttributesBuilder to, String name, JSONObject planned) {
        String kind = planned.keys().next();
        Object content = planned.get(kind);
        switch (kind) {
            case "string" -> to.put(name, (String) content);
            case "bool" -> to.put(name, (boolean) content);
            case "int" -> to.put(name, Long.parseLong((String) content));
            case "double" -> to.put(name, number(content));
            case "strings" -> to.put(AttributeKey.stringArrayKey(name),
                each(content, one -> (String) one));
            case "bools" -> to.put(AttributeKey.booleanArrayKey(name),
                each(content, one -> (Boolean) one));
            case "ints" -> to.put(AttributeKey.longArrayKey(name),
                each(content, one -> Long.parseLong((String) one)));
            case "doubles" -> to.put(AttributeKey.doubleArrayKey(name),
                each(content, Client::number));
            default -> to.put(AttributeKey.valueKey(name), value(planned));
        }
    }

    private static Attributes attributes(JSONObject planned) {
        AttributesBuilder found = Attributes.builder();
        planned.keySet().forEach(name -> put(found, name, planned.getJSONObject(name)));
        return found.build();
    }

    /** The header's text is read as it would be from another service. */
    private static TraceState state(String text) {
        TextMapGetter<String> header = new TextMapGetter<>() {
            @Override
            @SuppressWarnings("deprecation") // abstract all the same
            public Iterable<String> keys(String carrier) {
                return List.of("traceparent", "tracestate");
            }

            @Override
            public String get(String carrier, String key) {
                return key.equals("tracestate") ? carrier
                    : "00-00000000000000000000000000000001-0000000000000001-01";
            }
        };
        Context read = W3CTraceContextPropagator.getInstance().extract(Context.root(), text, header);
        return Span.fromContext(read).getSpanContext().getTraceState();
    }

    private SpanContext context(JSONObject planned) {
        if (planned.has("span")) {
            return made.get(planned.getInt("span"));
        }
        JSONObject remote = planned.getJSONObject("remote");
        return SpanContext.createFromRemoteParent(remote.getString("trace_id"),
            remote.getString("span_id"), TraceFlags.getSampled(),
            state(remote.getString("trace_state")));
    }

    private SpanBuilder builder(JSONObject planned) {
        JSONObject scope = planned.getJSONObject("scope");
        var tracer = sdk.getTracerProvider().tracerBuilder(scope.getString("name"));
        if (!scope.getString("version").isEmpty()) {
            tracer.setInstrumentationVersion(scope.getString("version"));
        }
        if (!scope.getString("schema_url").isEmpty()) {
            tracer.setSchemaUrl(scope.getString("schema_url"));
        }
        SpanBuilder builder = tracer.build().spanBuilder(planned.getString("name")).setNoParent();
        if (!planned.isNull("parent")) {
            SpanContext parent = context(planned.getJSONObject("parent"));
            builder.setParent(Context.root().with(Span.wrap(parent)));
        }
        return builder;
    }

    private SpanContext make(JSONObject planned) {
        SpanBuilder builder = builder(planned);
        builder.setSpanKind(KINDS[planned.getInt("kind")]);
        builder.setStartTimestamp(planned.getLong("start"), TimeUnit.NANOSECONDS);
        builder.setAllAttributes(attributes(planned.getJSONObject("attributes")));
        for (Object one : planned.getJSONArray("links")) {
            JSONObject link = (JSONObject) one;
            builder.addLink(context(link), attributes(link.getJSONObject("attributes")));
        }
        Span span = builder.startSpan();
        for (Object one : planned.getJSONArray("events")) {
            JSONObject event = (JSONObject) one;
            span.addEvent(event.getString("name"), attributes(event.getJSONObject("attributes")),
                event.getLong("time"), TimeUnit.NANOSECONDS);
        }
        JSONArray status = planned.getJSONArray("status");
        if (status.getInt(0) != 0) {
            span.setStatus(STATUSES[status.getInt(0)], status.getString(1));
        }
        span.end(planned.getLong("end"), TimeUnit.NANOSECONDS);
        return span.getSpanContext();
    }

    private void flushOthers() {
        sdk.getMeterProvider().get("others").counterBuilder("flushes").build().add(1);
        sdk.getLogsBridge().get("others").logRecordBuilder().setBody("flushed").emit();
        sdk.getSdkMeterProvider().forceFlush().join(60, TimeUnit.SECONDS);
        sdk.getSdkLoggerProvider().forceFlush().join(60, TimeUnit.SECONDS);
    }

    public static void main(String[] words) throws Exception {
        List<JSONObject> plan = new ArrayList<>();
        Files.readAllLines(Path.of(words[0])).forEach(line -> plan.add(new JSONObject(line)));
        Ids ids = new Ids();
        // At the end of the process it would shut down beside the log, and be mute.
        var builder = AutoConfiguredOpenTelemetrySdk.builder().disableShutdownHook();
        if (plan.stream().anyMatch(planned -> planned.optBoolean("bad"))) {
            builder.addTracerProviderCustomizer((provider, config) -> provider.setIdGenerator(ids));
        }
        Client client = new Client(builder.build().getOpenTelemetrySdk());
        try (PrintWriter record = new PrintWriter(words[1])) {
            for (JSONObject planned : plan) {
                ids.bad = planned.optBoolean("bad");
                SpanContext context = client.make(planned);
                client.made.add(context);
                record.printf("{\"trace_id\": \"%s\", \"span_id\": \"%s\"}%n", context.getTraceId(),
                    context.getSpanId());
                if (planned.getBoolean("flush")) {
                    client.sdk.getSdkTracerProvider().forceFlush().join(60, TimeUnit.SECONDS);
                    // The processor forgets a flush a little after it has told of its end, and
                    // takes the next one until then for the same.
                    Thread.sleep(20);
                    if ("otlp".equals(System.getenv("OTEL_METRICS_EXPORTER"))) {
                        client.flushOthers();
                    }
                }
            }
        }
        client.sdk.close();
    }
}
