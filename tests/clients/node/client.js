// SPDX-License-Identifier: Apache-2.0
// client.js PLAN RECORD: sends the spans of the plan (../plan.py) with the OpenTelemetry SDK for
// Node and writes down their ids. All settings come from the environment. Where the other signals
// have an exporter, too, each gets one thing to send with every flush.
'use strict';
const fs = require('node:fs');
const { createTraceState, metrics, ROOT_CONTEXT, trace } = require('@opentelemetry/api');
const { logs } = require('@opentelemetry/api-logs');
const { NodeSDK } = require('@opentelemetry/sdk-node');

// Of the SDK's own kinds.
const KINDS = [undefined, 0, 1, 2, 3, 4];

function hex(digits) {
  return [...Array(digits)].map(() => Math.floor(Math.random() * 16).toString(16)).join('');
}

// Gives spans that are to be bad no id.
const ids = {
  bad: false,
  generateTraceId: () => hex(31) + '1',
  generateSpanId: () => (ids.bad ? '0'.repeat(16) : hex(15) + '1'),
};

function double(bits) {
  return Buffer.from(bits, 'hex').readDoubleBE();
}

const READERS = {
  string: (it) => it,
  bool: (it) => it,
  int: Number,
  double,
  strings: (all) => all,
  bools: (all) => all,
  ints: (all) => all.map(Number),
  doubles: (all) => all.map(double),
};

function attributes(planned) {
  return Object.fromEntries(
    Object.entries(planned).map(([name, value]) => {
      const [[kind, content]] = Object.entries(value);
      return [name, READERS[kind](content)];
    }),
  );
}

function time(nanoseconds) {
  const all = BigInt(nanoseconds);
  return [Number(all / 1000000000n), Number(all % 1000000000n)];
}

function context(planned, made) {
  if (planned.span !== undefined) return made[planned.span];
  const { trace_id: traceId, span_id: spanId, trace_state: state } = planned.remote;
  const traceState = state ? createTraceState(state) : undefined;
  return { traceId, spanId, traceFlags: 1, isRemote: true, traceState };
}

function make(planned, made) {
  const { name, version, schema_url: schemaUrl } = planned.scope;
  const options = { schemaUrl: schemaUrl || undefined };
  // trace.getTracer itself knows no options.
  const tracer = trace.getTracerProvider().getTracer(name, version || undefined, options);
  const parent = planned.parent
    ? trace.setSpanContext(ROOT_CONTEXT, context(planned.parent, made))
    : ROOT_CONTEXT;
  const span = tracer.startSpan(
    planned.name,
    {
      kind: KINDS[planned.kind],
      startTime: time(planned.start),
      attributes: attributes(planned.attributes),
      links: planned.links.map((link) => ({
        context: context(link, made),
        attributes: attributes(link.attributes),
      })),
    },
    parent,
  );
  for (const event of planned.events) {
    span.addEvent(event.name, attributes(event.attributes), time(event.time));
  }
  const [code, message] = planned.status;
  if (code) span.setStatus(message ? { code, message } : { code });
  span.end(time(planned.end));
  return span.spanContext();
}

// What could not be exported is told to those who flush, besides in the log.
function report(errors) {
  console.error([errors].flat().map(String).join('\n'));
}

// Of what stands behind the API, whichever way it is wrapped.
function flushable(provider) {
  const one = provider._getDelegate ? provider._getDelegate() : provider;
  return one.forceFlush().catch(report);
}

async function flushOthers() {
  metrics.getMeter('others').createCounter('flushes').add(1);
  logs.getLogger('others').emit({ body: 'flushed' });
  await flushable(metrics.getMeterProvider());
  await flushable(logs.getLoggerProvider());
}

async function main() {
  const lines = fs.readFileSync(process.argv[2], 'utf8').trim().split('\n');
  const plan = lines.map((line) => JSON.parse(line));
  const sdk = new NodeSDK(plan.some((planned) => planned.bad) ? { idGenerator: ids } : {});
  sdk.start();
  const made = [];
  const record = fs.openSync(process.argv[3], 'w');
  for (const planned of plan) {
    ids.bad = Boolean(planned.bad);
    const context = make(planned, made);
    made.push(context);
    const line = { trace_id: context.traceId, span_id: context.spanId };
    fs.writeSync(record, JSON.stringify(line) + '\n');
    if (planned.flush) {
      await trace.getTracerProvider().getDelegate().forceFlush().catch(report);
      if (process.env.OTEL_METRICS_EXPORTER === 'otlp') await flushOthers();
    }
  }
  await sdk.shutdown().catch(report);
}

main();
