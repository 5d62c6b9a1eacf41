// SPDX-License-Identifier: Apache-2.0

// client PLAN RECORD: sends the spans of the plan (../../plan.py) with the OpenTelemetry SDK for Go
// and writes down their ids. Settings come from the environment; OTEL_EXPORTER_OTLP_PROTOCOL
// chooses the exporter. Where the other signals have an exporter, too, each gets one thing to send
// with every flush.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/go-logr/stdr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

type reference struct {
	Span   *int
	Remote *struct {
		TraceID    string `json:"trace_id"`
		SpanID     string `json:"span_id"`
		TraceState string `json:"trace_state"`
	}
}

type values map[string]map[string]json.RawMessage

type planned struct {
	Name       string
	Kind       trace.SpanKind
	Start, End string
	Status     []any
	Scope      struct {
		Name, Version string
		SchemaURL     string `json:"schema_url"`
		Attributes    values
	}
	Parent *reference
	Links  []struct {
		reference
		Attributes values
	}
	Attributes values
	Events     []struct {
		Name, Time string
		Attributes values
	}
	Bad, Flush bool
}

// ids gives spans that are to be bad no id.
type ids struct{ bad bool }

func (i *ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	_, _ = rand.Read(id[:])
	return id, i.NewSpanID(ctx, id)
}

func (i *ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	if !i.bad {
		_, _ = rand.Read(id[:])
	}
	return id
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func as[T any](raw json.RawMessage) T {
	var value T
	check(json.Unmarshal(raw, &value))
	return value
}

func integer(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return value
}

func double(bits string) float64 {
	value, err := strconv.ParseUint(bits, 16, 64)
	check(err)
	return math.Float64frombits(value)
}

func octets(digits string) []byte {
	value, err := hex.DecodeString(digits)
	check(err)
	return value
}

func each[T, U any](all []T, read func(T) U) []U {
	found := make([]U, 0, len(all))
	for _, one := range all {
		found = append(found, read(one))
	}
	return found
}

func value(of map[string]json.RawMessage) attribute.Value {
	for kind, raw := range of {
		switch kind {
		case "string":
			return attribute.StringValue(as[string](raw))
		case "bool":
			return attribute.BoolValue(as[bool](raw))
		case "int":
			return attribute.Int64Value(integer(as[string](raw)))
		case "double":
			return attribute.Float64Value(double(as[string](raw)))
		case "bytes":
			return attribute.ByteSliceValue(octets(as[string](raw)))
		case "strings":
			return attribute.StringSliceValue(as[[]string](raw))
		case "bools":
			return attribute.BoolSliceValue(as[[]bool](raw))
		case "ints":
			return attribute.Int64SliceValue(each(as[[]string](raw), integer))
		case "doubles":
			return attribute.Float64SliceValue(each(as[[]string](raw), double))
		case "array":
			return attribute.SliceValue(each(as[[]map[string]json.RawMessage](raw), value)...)
		case "map":
			return attribute.MapValue(attributes(as[values](raw))...)
		}
	}
	log.Fatalf("a value of no known kind: %v", of)
	return attribute.Value{}
}

func attributes(of values) []attribute.KeyValue {
	var read []attribute.KeyValue
	for name, one := range of {
		read = append(read, attribute.KeyValue{Key: attribute.Key(name), Value: value(one)})
	}
	return read
}

func (r reference) context(made []trace.SpanContext) trace.SpanContext {
	if r.Span != nil {
		return made[*r.Span]
	}
	traceID, err := trace.TraceIDFromHex(r.Remote.TraceID)
	check(err)
	spanID, err := trace.SpanIDFromHex(r.Remote.SpanID)
	check(err)
	state, err := trace.ParseTraceState(r.Remote.TraceState)
	check(err)
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID,
		TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true})
}

func send(plan planned, provider trace.TracerProvider, made []trace.SpanContext) trace.SpanContext {
	tracer := provider.Tracer(plan.Scope.Name,
		trace.WithInstrumentationVersion(plan.Scope.Version),
		trace.WithSchemaURL(plan.Scope.SchemaURL),
		trace.WithInstrumentationAttributes(attributes(plan.Scope.Attributes)...))
	parent := context.Background()
	if plan.Parent != nil {
		parent = trace.ContextWithSpanContext(parent, plan.Parent.context(made))
	}
	var links []trace.Link
	for _, link := range plan.Links {
		links = append(links, trace.Link{SpanContext: link.context(made),
			Attributes: attributes(link.Attributes)})
	}
	_, span := tracer.Start(parent, plan.Name, trace.WithSpanKind(plan.Kind),
		trace.WithTimestamp(time.Unix(0, integer(plan.Start))), trace.WithLinks(links...),
		trace.WithAttributes(attributes(plan.Attributes)...))
	for _, event := range plan.Events {
		span.AddEvent(event.Name, trace.WithTimestamp(time.Unix(0, integer(event.Time))),
			trace.WithAttributes(attributes(event.Attributes)...))
	}
	// The SDK's own codes are the other way round.
	span.SetStatus([]codes.Code{codes.Unset, codes.Ok, codes.Error}[int(plan.Status[0].(float64))],
		plan.Status[1].(string))
	span.End(trace.WithTimestamp(time.Unix(0, integer(plan.End))))
	return span.SpanContext()
}

func read(path string) (plan []planned, bad bool) {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	for decoder := json.NewDecoder(bufio.NewReader(file)); decoder.More(); {
		var one planned
		check(decoder.Decode(&one))
		plan = append(plan, one)
		bad = bad || one.Bad
	}
	return plan, bad
}

func exporter(ctx context.Context) *otlptrace.Exporter {
	create := func() (*otlptrace.Exporter, error) { return otlptracehttp.New(ctx) }
	if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" {
		create = func() (*otlptrace.Exporter, error) { return otlptracegrpc.New(ctx) }
	}
	created, err := create()
	check(err)
	return created
}

// others are metrics and logs.
type others struct {
	meter  *sdkmetric.MeterProvider
	logger *sdklog.LoggerProvider
}

func newOthers(ctx context.Context) *others {
	var metrics sdkmetric.Exporter
	var logs sdklog.Exporter
	var errMetrics, errLogs error
	if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" {
		metrics, errMetrics = otlpmetricgrpc.New(ctx)
		logs, errLogs = otlploggrpc.New(ctx)
	} else {
		metrics, errMetrics = otlpmetrichttp.New(ctx)
		logs, errLogs = otlploghttp.New(ctx)
	}
	check(errMetrics)
	check(errLogs)
	return &others{
		meter: sdkmetric.NewMeterProvider(
			sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics))),
		logger: sdklog.NewLoggerProvider(
			sdklog.WithProcessor(sdklog.NewBatchProcessor(logs))),
	}
}

func (o *others) flush(ctx context.Context) {
	counter, err := o.meter.Meter("others").Int64Counter("flushes")
	check(err)
	counter.Add(ctx, 1)
	var record otellog.Record
	record.SetBody(attribute.StringValue("flushed"))
	o.logger.Logger("others").Emit(ctx, record)
	for _, err := range []error{o.meter.ForceFlush(ctx), o.logger.ForceFlush(ctx)} {
		if err != nil {
			otel.Handle(err)
		}
	}
}

func main() {
	stdr.SetVerbosity(1) // warnings
	otel.SetLogger(stdr.New(log.New(os.Stderr, "", log.LstdFlags)))
	ctx := context.Background()
	plan, bad := read(os.Args[1])
	options := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(exporter(ctx))}
	generator := &ids{}
	if bad {
		options = append(options, sdktrace.WithIDGenerator(generator))
	}
	provider := sdktrace.NewTracerProvider(options...)
	record, err := os.Create(os.Args[2])
	check(err)
	var other *others
	if os.Getenv("OTEL_METRICS_EXPORTER") == "otlp" {
		other = newOthers(ctx)
	}
	var made []trace.SpanContext
	for _, one := range plan {
		generator.bad = one.Bad
		sent := send(one, provider, made)
		made = append(made, sent)
		fmt.Fprintf(record, "{\"trace_id\": \"%s\", \"span_id\": \"%s\"}\n", sent.TraceID(),
			sent.SpanID())
		if one.Flush {
			if err := provider.ForceFlush(ctx); err != nil {
				otel.Handle(err)
			}
			if other != nil {
				other.flush(ctx)
			}
		}
	}
	if err := provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}
