//! `{"schema":[{"name","type"}],"rows":[[…]],"meta":{…}}`.

use serde_json::{Value, json};

use super::SqlAnswer;
use super::value::json_value;
use crate::incomplete;
use crate::sql::run::type_name;

pub(super) fn write(answer: &SqlAnswer) -> String {
    let columns: Vec<Value> = answer
        .schema
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": type_name(field.data_type())}))
        .collect();
    let positions: serde_json::Map<String, Value> =
        answer.meta.positions.iter().map(|(shard, offset)| (shard.to_string(), (*offset).into())).collect();
    let mut meta = json!({
        "rows": answer.meta.rows,
        "scanned_bytes": answer.meta.scanned_bytes,
        "elapsed_ms": answer.meta.elapsed_ms,
        "as_of": answer.meta.as_of_ms,
        "truncated": answer.meta.truncated,
        "positions": positions,
    });
    if answer.meta.nodes > 1 {
        meta["nodes"] = json!(answer.meta.nodes);
    }
    if !answer.meta.incomplete.is_empty() {
        meta["incomplete"] = json!(incomplete::listed(&answer.meta.incomplete));
    }
    if !answer.meta.warnings.is_empty() {
        meta["warnings"] = json!(answer.meta.warnings);
    }
    // Row by row into one text: a tree of all values would take several times the memory.
    let mut out = format!("{{\"schema\":{},\"rows\":[", Value::from(columns));
    let mut first = true;
    for batch in &answer.batches {
        for row in 0..batch.num_rows() {
            out.push_str(if first { "\n" } else { ",\n" });
            first = false;
            let values: Vec<Value> = batch.columns().iter().map(|column| json_value(column, row)).collect();
            out.push_str(&Value::from(values).to_string());
        }
    }
    out.push_str(&format!("],\n\"meta\":{meta}}}\n"));
    out
}
