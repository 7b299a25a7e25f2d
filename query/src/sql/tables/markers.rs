//! The table `markers`: what somebody said about releases, each id once, as the aggregator keeps it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use shipwake_model::Marker;
use shipwake_store::MarkerRow;
use shipwake_store::tables::time_type;

use super::{column, plain};

/// What one row is.
pub(super) const COMMENT: &str =
    "what somebody said about a release: a deployment, a rollback, a share of the traffic, a toggle";

pub(super) fn schema() -> SchemaRef {
    let text = |name: &str, comment: &str| column(name, DataType::Utf8, false, comment);
    let word = |name: &str, comment: &str| column(name, DataType::Utf8, true, comment);
    Arc::new(Schema::new(vec![
        text("id", "tells it from all others: what is said again with the same id replaces what was said before"),
        text("kind", "deploy, rollback, promote, weight, toggle, freeze or note"),
        text("service", "name of the service (service.name)"),
        text("namespace", "namespace of the service (service.namespace), or empty"),
        text("environment", "where it runs (deployment.environment.name)"),
        text("version", "version that it is about; unversioned where it names none"),
        column("time", time_type(), false, "when it happened, or is to happen"),
        column("until", time_type(), true, "until when it lasts, of a freeze"),
        text("previous", "the version before, or empty"),
        column("weight", DataType::Float64, true, "share of the traffic that the version is to get, 0 to 1"),
        word("role", "stable, candidate, dark, shadow or retired"),
        word("exposure", "public or internal"),
        word("status", "how far a deployment is: started, succeeded or failed"),
        text("toggle", "key of the toggle that was turned, or empty"),
        text("commit_sha", "commit that the version was built from, or empty"),
        text("url", "where a person finds more, or empty"),
        text("actor", "who did it, or empty"),
        text(
            "source",
            "who told us: api, cli, otlp, cdevents, github, argocd, flagger, grafana, sentry, honeycomb, datadog",
        ),
        text("message", "for people, or empty"),
        column("said", time_type(), false, "when it was said: of two with one id the later counts"),
        column("received", time_type(), false, "when it was received"),
    ]))
}

pub(super) fn provider(rows: &[MarkerRow]) -> Result<Arc<dyn TableProvider>> {
    let schema = plain(&schema());
    let batch = RecordBatch::try_new(schema.clone(), columns(rows))?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn columns(rows: &[MarkerRow]) -> Vec<ArrayRef> {
    let text = |of: fn(&Marker) -> &str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(&row.marker))).collect::<StringArray>())
    };
    let word = |of: fn(&Marker) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(&row.marker)).collect::<StringArray>())
    };
    let time = |of: fn(&MarkerRow) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<TimestampNanosecondArray>().with_timezone("UTC"))
    };
    vec![
        text(|marker| &marker.id),
        text(|marker| marker.kind.as_str()),
        text(|marker| &marker.release.service),
        text(|marker| &marker.release.namespace),
        text(|marker| &marker.release.environment),
        text(|marker| &marker.release.version),
        time(|row| Some(row.marker.at_ns)),
        time(|row| row.marker.until_ns),
        text(|marker| &marker.previous),
        Arc::new(rows.iter().map(|row| row.marker.weight).collect::<Float64Array>()),
        word(|marker| marker.role.map(|role| role.as_str())),
        word(|marker| marker.exposure.map(|exposure| exposure.as_str())),
        word(|marker| marker.status.map(|status| status.as_str())),
        text(|marker| &marker.toggle),
        text(|marker| &marker.commit),
        text(|marker| &marker.url),
        text(|marker| &marker.by),
        text(|marker| &marker.source),
        text(|marker| &marker.text),
        time(|row| Some(row.marker.said_at(row.received_ns))),
        time(|row| Some(row.received_ns)),
    ]
}
