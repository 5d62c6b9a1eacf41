// SPDX-License-Identifier: Apache-2.0

//! client PLAN RECORD: sends the spans of the plan (../plan.py) with the OpenTelemetry SDK for Rust
//! and writes down their ids. Settings come from the environment; OTEL_EXPORTER_OTLP_PROTOCOL
//! chooses the exporter. Where the other signals have an exporter, too, each gets one thing to send
//! with every flush.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry::logs::{LogRecord, Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider};
use serde_json::Value as Json;

type Failure = Box<dyn Error>;

const KINDS: [SpanKind; 6] = [
    SpanKind::Internal,
    SpanKind::Internal,
    SpanKind::Server,
    SpanKind::Client,
    SpanKind::Producer,
    SpanKind::Consumer,
];

static BAD: AtomicBool = AtomicBool::new(false);

/// Gives spans that are to be bad no id.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        self.0.new_trace_id()
    }

    fn new_span_id(&self) -> SpanId {
        if BAD.load(Ordering::Relaxed) {
            SpanId::INVALID
        } else {
            self.0.new_span_id()
        }
    }
}

fn text(planned: &Json) -> String {
    planned.as_str().expect("a text").to_owned()
}

fn integer(planned: &Json) -> i64 {
    text(planned).parse().expect("an integer")
}

fn double(planned: &Json) -> f64 {
    f64::from_bits(u64::from_str_radix(&text(planned), 16).expect("16 hex digits"))
}

fn time(planned: &Json) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(integer(planned) as u64)
}

fn all<'a>(planned: &'a Json) -> impl Iterator<Item = &'a Json> {
    planned.as_array().expect("an array").iter()
}

fn value(planned: &Json) -> Value {
    let (kind, content) = planned
        .as_object()
        .and_then(|it| it.iter().next())
        .expect("a value");
    match kind.as_str() {
        "string" => Value::String(text(content).into()),
        "bool" => Value::Bool(content == true),
        "int" => Value::I64(integer(content)),
        "double" => Value::F64(double(content)),
        "strings" => Value::Array(Array::String(
            all(content).map(|it| StringValue::from(text(it))).collect(),
        )),
        "bools" => Value::Array(Array::Bool(all(content).map(|it| it == true).collect())),
        "ints" => Value::Array(Array::I64(all(content).map(integer).collect())),
        "doubles" => Value::Array(Array::F64(all(content).map(double).collect())),
        _ => panic!("a value of no known kind: {kind}"),
    }
}

fn attributes(planned: &Json) -> Vec<KeyValue> {
    let planned = planned.as_object().expect("attributes");
    planned
        .iter()
        .map(|(name, it)| KeyValue::new(name.clone(), value(it)))
        .collect()
}

fn context(planned: &Json, made: &[SpanContext]) -> Result<SpanContext, Failure> {
    if let Some(index) = planned["span"].as_u64() {
        return Ok(made[index as usize].clone());
    }
    let remote = &planned["remote"];
    Ok(SpanContext::new(
        TraceId::from_hex(&text(&remote["trace_id"]))?,
        SpanId::from_hex(&text(&remote["span_id"]))?,
        TraceFlags::SAMPLED,
        true,
        TraceState::from_str(&text(&remote["trace_state"]))?,
    ))
}

fn scope(planned: &Json) -> InstrumentationScope {
    let mut scope = InstrumentationScope::builder(text(&planned["name"]))
        .with_attributes(attributes(&planned["attributes"]));
    if planned["version"] != "" {
        scope = scope.with_version(text(&planned["version"]));
    }
    if planned["schema_url"] != "" {
        scope = scope.with_schema_url(text(&planned["schema_url"]));
    }
    scope.build()
}

fn make(
    planned: &Json,
    provider: &SdkTracerProvider,
    made: &[SpanContext],
) -> Result<SpanContext, Failure> {
    let tracer = provider.tracer_with_scope(scope(&planned["scope"]));
    let parent = match &planned["parent"] {
        Json::Null => Context::new(),
        parent => Context::new().with_remote_span_context(context(parent, made)?),
    };
    let mut links = Vec::new();
    for link in all(&planned["links"]) {
        links.push(Link::new(
            context(link, made)?,
            attributes(&link["attributes"]),
            0,
        ));
    }
    let mut span = tracer
        .span_builder(text(&planned["name"]))
        .with_kind(KINDS[planned["kind"].as_u64().expect("a kind") as usize].clone())
        .with_start_time(time(&planned["start"]))
        .with_attributes(attributes(&planned["attributes"]))
        .with_links(links)
        .start_with_context(&tracer, &parent);
    for event in all(&planned["events"]) {
        let attributes = attributes(&event["attributes"]);
        span.add_event_with_timestamp(text(&event["name"]), time(&event["time"]), attributes);
    }
    match planned["status"][0].as_u64() {
        Some(1) => span.set_status(Status::Ok),
        Some(2) => span.set_status(Status::error(text(&planned["status"][1]))),
        _ => {}
    }
    span.end_with_timestamp(time(&planned["end"]));
    Ok(span.span_context().clone())
}

fn is_grpc() -> bool {
    env::var("OTEL_EXPORTER_OTLP_PROTOCOL").as_deref() == Ok("grpc")
}

fn exporter() -> Result<SpanExporter, Failure> {
    Ok(if is_grpc() {
        SpanExporter::builder().with_tonic().build()?
    } else {
        SpanExporter::builder().with_http().build()?
    })
}

/// Metrics and logs.
struct Others {
    meter: SdkMeterProvider,
    logger: SdkLoggerProvider,
}

impl Others {
    fn new() -> Result<Self, Failure> {
        let (metrics, logs) = if is_grpc() {
            (
                MetricExporter::builder().with_tonic().build()?,
                LogExporter::builder().with_tonic().build()?,
            )
        } else {
            (
                MetricExporter::builder().with_http().build()?,
                LogExporter::builder().with_http().build()?,
            )
        };
        Ok(Self {
            meter: SdkMeterProvider::builder()
                .with_periodic_exporter(metrics)
                .build(),
            logger: SdkLoggerProvider::builder()
                .with_batch_exporter(logs)
                .build(),
        })
    }

    fn flush(&self) {
        let counter = self.meter.meter("others").u64_counter("flushes").build();
        counter.add(1, &[]);
        let logger = self.logger.logger("others");
        let mut record = logger.create_log_record();
        record.set_body("flushed".into());
        logger.emit(record);
        for flushed in [self.meter.force_flush(), self.logger.force_flush()] {
            if let Err(error) = flushed {
                eprintln!("flush: {error}");
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    let words: Vec<String> = env::args().collect();
    let plan: Vec<Json> = fs::read_to_string(&words[1])?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;

    let runtime = tokio::runtime::Runtime::new()?;
    let entered = runtime.enter();
    let mut builder = SdkTracerProvider::builder().with_batch_exporter(exporter()?);
    if plan.iter().any(|planned| planned["bad"] == true) {
        builder = builder.with_id_generator(Ids::default());
    }
    let provider = builder.build();
    let others = match env::var("OTEL_METRICS_EXPORTER").as_deref() {
        Ok("otlp") => Some(Others::new()?),
        _ => None,
    };
    drop(entered);

    let mut record = File::create(&words[2])?;
    let mut made = Vec::new();
    for planned in &plan {
        BAD.store(planned["bad"] == true, Ordering::Relaxed);
        let context = make(planned, &provider, &made)?;
        let (trace_id, span_id) = (context.trace_id(), context.span_id());
        writeln!(
            record,
            "{{\"trace_id\": \"{trace_id}\", \"span_id\": \"{span_id}\"}}"
        )?;
        made.push(context);
        if planned["flush"] == true {
            if let Err(error) = provider.force_flush() {
                eprintln!("flush: {error}");
            }
            if let Some(others) = &others {
                others.flush();
            }
        }
    }
    if let Err(error) = provider.shutdown() {
        eprintln!("shutdown: {error}");
    }
    Ok(())
}
