//! Compares rows with f(id), field by field. Pure.

use serde_json::Value;
use shipwake_model::Signal;

use super::content::{self, PointKind, Shape, derived};
use super::judge::Finding;
use super::sql::whole;
use super::template::{digits, hex8, pad_for, trace_id};

/// The columns that [`judge`] reads after the id.
pub fn columns(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "service, version, instance, severity_number, body, trace_id, span_id",
        Signal::Traces => "service, version, instance, name, kind, route, status_code, duration_ns, trace_id, span_id",
        Signal::Metrics => "service, version, instance, metric, temporality, attributes['series']",
    }
}

/// The padding of the run's log bodies, which is worth computing once.
pub fn log_padding(shape: &Shape) -> String {
    content::padding(pad_for(shape, Signal::Logs))
}

/// Compares one row, whose first cell is the id, with what was sent under that id. `pad` is [`log_padding`].
pub fn judge(shape: &Shape, pad: &str, signal: Signal, row: &[Value]) -> Option<Finding> {
    let id = row.first().and_then(whole).unwrap_or(-1) as u64;
    let found: Vec<String> = row.iter().skip(1).map(cell).collect();
    let expected = expected(shape, pad, signal, id);
    if found == expected {
        return None;
    }
    Some(Finding::Payload { signal, id, expected: expected.join(" | "), found: found.join(" | ") })
}

fn expected(shape: &Shape, pad: &str, signal: Signal, id: u64) -> Vec<String> {
    let position = shape.position(id);
    let owner = shape.owner(shape.resource_of(id));
    let values = derived(signal, id);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ids = [hex(&trace_id(values.hash)), hex(&values.hash.to_le_bytes())];
    let mut fields = vec![owner.service, owner.version, owner.instance];
    match signal {
        Signal::Logs => {
            let (id, hash) = (text(&digits::<12>(id)), text(&hex8(values.hash as u32)));
            fields.push(content::severity(position).0.to_string());
            fields.push(content::log_body(position, &id, &hash, &text(&digits::<8>(values.duration_us)), pad));
            fields.extend(ids);
        }
        Signal::Traces => {
            let (method, route) = content::route(position);
            fields.push(format!("{method} {route}"));
            fields.push(if content::is_server(position) { "server" } else { "client" }.to_owned());
            fields.push(format!("{method} {route}"));
            fields.push(if content::is_error(position) { "error" } else { "unset" }.to_owned());
            fields.push((values.duration_us * 1_000).to_string());
            fields.extend(ids);
        }
        Signal::Metrics => {
            let (metric, temporality) = match content::point_kind(position, shape.group()) {
                PointKind::Gauge => (content::GAUGE, ""),
                PointKind::Sum => (content::SUM, "delta"),
                PointKind::Histogram => (content::HISTOGRAM, "delta"),
            };
            fields.extend([metric.to_owned(), temporality.to_owned(), text(&digits::<8>(shape.series_of(id)))]);
        }
    }
    fields
}

/// A cell as text; absent is empty, and a gauge's temporality is absent in whatever words.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text == "unspecified" => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape() -> Shape {
        Shape {
            run: "t".to_owned(),
            batch: 20,
            resources_per_request: 2,
            services: 2,
            versions: 3,
            instances: 2,
            cardinality: 360,
            record_bytes: 300,
        }
    }

    #[test]
    fn a_row_that_says_what_was_sent_is_no_finding() {
        for signal in Signal::ALL {
            let mut row = vec![json!(123)];
            row.extend(expected(&shape(), "pad", signal, 123).into_iter().map(Value::String));
            assert_eq!(judge(&shape(), "pad", signal, &row), None);
            row[1] = json!("other");
            assert!(matches!(judge(&shape(), "pad", signal, &row), Some(Finding::Payload { id: 123, .. })));
        }
    }

    #[test]
    fn numbers_and_absent_cells_compare_as_texts() {
        assert_eq!(cell(&json!(9)), "9");
        assert_eq!(cell(&Value::Null), "");
    }
}
