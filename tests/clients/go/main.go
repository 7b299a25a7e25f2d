// One dose of telemetry through the official SDK, told where to send it by the standard environment variables.
// What is in the dose stands in `dose.rs`, which counts what arrives.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var ctx = context.Background()

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	spans := sdktrace.NewTracerProvider(sdktrace.WithBatcher(must(autoexport.NewSpanExporter(ctx)), sdktrace.WithBatchTimeout(time.Hour)))
	logs := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(must(autoexport.NewLogExporter(ctx)), sdklog.WithExportInterval(time.Hour))))
	exponential := sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}
	points := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(must(autoexport.NewMetricReader(ctx))),
		sdkmetric.WithView(sdkmetric.NewView(sdkmetric.Instrument{Name: "pay.size"}, sdkmetric.Stream{Aggregation: exponential})),
	)

	sendLogs(logs)
	sendSpans(spans)
	half := instruments(points.Meter("shop"))
	half(true)
	fmt.Println("flushing")
	say("flush", points.ForceFlush(ctx))
	half(false)
	say("logs", logs.Shutdown(ctx))
	say("spans", spans.Shutdown(ctx))
	say("points", points.Shutdown(ctx))
}

func say(what string, err error) {
	if err != nil {
		log.Println(what, err)
	}
}

func sendLogs(provider *sdklog.LoggerProvider) {
	logger := provider.Logger("shop")
	for i := range 40 {
		var record otellog.Record
		record.SetTimestamp(time.Now())
		record.SetBody(attribute.StringValue(fmt.Sprintf("order %d", i)))
		record.SetSeverity(otellog.SeverityInfo)
		if i%4 == 0 {
			record.SetSeverity(otellog.SeverityError)
		}
		record.SetSeverityText(record.Severity().String())
		logger.Emit(ctx, record)
	}
}

func sendSpans(provider *sdktrace.TracerProvider) {
	tracer := provider.Tracer("shop")
	for i := range 30 {
		status := 200
		if i%10 == 0 {
			status = 500
		}
		attributes := trace.WithAttributes(
			attribute.String("http.request.method", "GET"),
			attribute.String("http.route", "/pay/{id}"),
			attribute.Int("http.response.status_code", status),
		)
		inside, span := tracer.Start(ctx, "GET /pay/{id}", trace.WithSpanKind(trace.SpanKindServer), attributes)
		_, child := tracer.Start(inside, "charge")
		child.End()
		if status == 500 {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

func instruments(meter metric.Meter) func(first bool) {
	orders := must(meter.Int64Counter("orders"))
	items := must(meter.Int64UpDownCounter("cart.items"))
	depth := must(meter.Int64Gauge("queue.depth"))
	duration := must(meter.Float64Histogram("pay.duration", metric.WithUnit("s")))
	size := must(meter.Int64Histogram("pay.size", metric.WithUnit("By")))
	observe := func(value int64) metric.Int64Callback {
		return func(_ context.Context, observer metric.Int64Observer) error {
			observer.Observe(value)
			return nil
		}
	}
	must(meter.Int64ObservableCounter("cpu.ticks", metric.WithInt64Callback(observe(100))))
	must(meter.Int64ObservableUpDownCounter("sessions", metric.WithInt64Callback(observe(-4))))
	temperature := func(_ context.Context, observer metric.Float64Observer) error {
		observer.Observe(3.5)
		return nil
	}
	must(meter.Float64ObservableGauge("temperature", metric.WithFloat64Callback(temperature)))

	return func(first bool) {
		added, put, deep, from := int64(25), int64(-3), int64(21), 51
		if first {
			added, put, deep, from = 30, 10, 20, 1
		}
		orders.Add(ctx, added)
		items.Add(ctx, put)
		depth.Record(ctx, deep)
		for i := from; i < from+50; i++ {
			duration.Record(ctx, float64(i)/1000)
			size.Record(ctx, int64(i))
		}
	}
}
