package shop;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.metrics.Meter;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.context.Context;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentelemetry.sdk.metrics.Aggregation;
import io.opentelemetry.sdk.metrics.InstrumentSelector;
import io.opentelemetry.sdk.metrics.View;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * One dose of telemetry through the official SDK, told where to send it by the standard environment variables. What is in
 * the dose stands in {@code dose.rs}, which counts what arrives.
 */
public final class Send {
  private static final long PATIENCE_S = 60;

  public static void main(String[] arguments) {
    OpenTelemetrySdk sdk = sdk();
    sendLogs(sdk);
    sendSpans(sdk);
    Consumer<Boolean> half = instruments(sdk.getMeterProvider().get("shop"));
    half.accept(true);
    System.out.println("flushing");
    sdk.getSdkMeterProvider().forceFlush().join(PATIENCE_S, TimeUnit.SECONDS);
    half.accept(false);
    sdk.getSdkLoggerProvider().shutdown().join(PATIENCE_S, TimeUnit.SECONDS);
    sdk.getSdkTracerProvider().shutdown().join(PATIENCE_S, TimeUnit.SECONDS);
    sdk.getSdkMeterProvider().shutdown().join(PATIENCE_S, TimeUnit.SECONDS);
  }

  private static OpenTelemetrySdk sdk() {
    InstrumentSelector size = InstrumentSelector.builder().setName("pay.size").build();
    View exponential = View.builder().setAggregation(Aggregation.base2ExponentialBucketHistogram()).build();
    return AutoConfiguredOpenTelemetrySdk.builder()
        .disableShutdownHook()
        .addMeterProviderCustomizer((provider, config) -> provider.registerView(size, exponential))
        .build()
        .getOpenTelemetrySdk();
  }

  private static void sendLogs(OpenTelemetrySdk sdk) {
    var logger = sdk.getSdkLoggerProvider().get("shop");
    for (int i = 0; i < 40; i++) {
      Severity severity = i % 4 == 0 ? Severity.ERROR : Severity.INFO;
      logger.logRecordBuilder().setSeverity(severity).setSeverityText(severity.name()).setBody("order " + i).emit();
    }
  }

  private static void sendSpans(OpenTelemetrySdk sdk) {
    var tracer = sdk.getTracer("shop");
    for (int i = 0; i < 30; i++) {
      boolean failed = i % 10 == 0;
      var span = tracer.spanBuilder("GET /pay/{id}")
          .setSpanKind(SpanKind.SERVER)
          .setAllAttributes(Attributes.of(
              AttributeKey.stringKey("http.request.method"), "GET",
              AttributeKey.stringKey("http.route"), "/pay/{id}",
              AttributeKey.longKey("http.response.status_code"), failed ? 500L : 200L))
          .startSpan();
      tracer.spanBuilder("charge").setParent(Context.root().with(span)).startSpan().end();
      if (failed) {
        span.setStatus(StatusCode.ERROR);
      }
      span.end();
    }
  }

  private static Consumer<Boolean> instruments(Meter meter) {
    var orders = meter.counterBuilder("orders").build();
    var items = meter.upDownCounterBuilder("cart.items").build();
    var depth = meter.gaugeBuilder("queue.depth").ofLongs().build();
    var duration = meter.histogramBuilder("pay.duration").setUnit("s").build();
    var size = meter.histogramBuilder("pay.size").setUnit("By").ofLongs().build();
    meter.counterBuilder("cpu.ticks").buildWithCallback(result -> result.record(100));
    meter.upDownCounterBuilder("sessions").buildWithCallback(result -> result.record(-4));
    meter.gaugeBuilder("temperature").buildWithCallback(result -> result.record(3.5));
    return first -> {
      orders.add(first ? 30 : 25);
      items.add(first ? 10 : -3);
      depth.set(first ? 20 : 21);
      int from = first ? 1 : 51;
      for (int i = from; i < from + 50; i++) {
        duration.record(i / 1000.0);
        size.record(i);
      }
    };
  }
}
