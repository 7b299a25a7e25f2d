//! Log patterns in SQL, on the release page and on the overview, asked over HTTP.

use axum::http::StatusCode;
use serde_json::json;
use shipwake_model::pattern::Level;
use shipwake_store::{PatternCell, PatternRow, PatternVersion};

use crate::support::rows::{Requests, release};
use crate::support::{T0, World};

const MINUTE: i64 = 60_000;

fn version(name: &str, level: Level, cells: &[(i64, u64)]) -> PatternVersion {
    let cells: Vec<PatternCell> = cells
        .iter()
        .map(|(minute, count)| PatternCell { t_ms: T0 + minute * MINUTE, count: *count, slots: 3 })
        .collect();
    PatternVersion {
        version: name.into(),
        level,
        first_seen_ns: cells.first().map_or(0, |cell| (cell.t_ms + 1_000) * 1_000_000),
        last_seen_ns: cells.last().map_or(0, |cell| (cell.t_ms + 2_000) * 1_000_000),
        count: cells.iter().map(|cell| cell.count).sum(),
        cells,
    }
}

fn pattern(id: u64, template: &str, versions: Vec<PatternVersion>) -> PatternRow {
    PatternRow {
        service: "checkout".into(),
        namespace: "".into(),
        environment: "prod".into(),
        id,
        template: template.into(),
        example: template.replace("<*>", "17").into(),
        versions,
    }
}

/// Ten minutes of `checkout`, from minute 5 on with a canary that has a tenth of the requests and lines of its own.
fn canary() -> World {
    let world = World::new();
    for second in 0..600 {
        let t_ms = T0 + second * 1_000;
        world.shard.requests(&Requests::new(&release("checkout", "1"), t_ms, 9));
        if second >= 300 {
            world.shard.requests(&Requests::new(&release("checkout", "2"), t_ms, 1));
        }
    }
    world.shard.pattern(pattern(10, "card token <*> rejected", vec![version("2", Level::Error, &[(8, 20), (9, 21)])]));
    let noise = vec![version("1", Level::Error, &[(6, 90), (8, 95)]), version("2", Level::Error, &[(6, 9), (8, 10)])];
    world.shard.pattern(pattern(11, "read <*> timed out", noise));
    world.set_now(T0 + 10 * MINUTE);
    world
}

#[tokio::test]
async fn the_release_page_tells_what_is_new_and_not_what_is_known_noise() {
    let world = canary();
    let (status, answer) = world.get("/api/v1/services/checkout/release?env=prod&from=now-10m&to=now&step=10s").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let patterns = answer["patterns"].as_array().expect("patterns");
    assert_eq!(patterns.len(), 1, "{patterns:?}");
    let told = &patterns[0];
    assert_eq!(told["ids"], json!(["000000000000000a"]));
    assert_eq!(
        (&told["id"], &told["class"], &told["level"]),
        (&json!("000000000000000a"), &json!("new"), &json!("error"))
    );
    assert_eq!((&told["text"], &told["sample"]), (&json!("card token <*> rejected"), &json!("card token 17 rejected")));
    assert_eq!((&told["count"], &told["count_base"], &told["rate_base"]), (&json!(41), &json!(0), &json!(0.0)));
    assert_eq!((&told["first"], &told["ratio"]), (&json!(T0 + 8 * MINUTE + 1_000), &json!(null)));
    assert_eq!(answer["patterns_since"], json!(T0 + 5 * MINUTE));
    let (_, overview) = world.get("/api/v1/overview?env=prod").await;
    assert_eq!(overview["services"][0]["new_patterns"], json!(1), "{}", overview["services"]);
}

#[tokio::test]
async fn the_table_adds_up_windows_by_version_and_level() {
    let world = canary();
    world.shard.commit();
    let rows = world
        .rows(
            "select version, pattern_id, template, level, count, example, first_seen, last_seen - first_seen < interval '5 minutes'
             from patterns where service = 'checkout' order by pattern_id, version",
        )
        .await;
    let first = rows[0][6].clone();
    assert!(first.to_string().contains("14:08:01"), "{first}");
    assert_eq!(
        rows[0],
        json!(["2", "000000000000000a", "card token <*> rejected", "error", 41, "card token 17 rejected", first, true])
    );
    assert_eq!((&rows[1][0], &rows[1][4]), (&json!("1"), &json!(185)));
    assert_eq!((&rows[2][0], &rows[2][4]), (&json!("2"), &json!(19)));
}

#[tokio::test]
async fn a_range_of_yesterday_is_told_from_windows() {
    let world = canary();
    world.shard.commit();
    world.set_now(T0 + 24 * 60 * MINUTE);
    let (from, to) = (T0, T0 + 10 * MINUTE);
    let (status, answer) = world
        .get(&format!("/api/v1/services/checkout/release?env=prod&from={from}&to={to}&step=60s&cand=2&base=1"))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let patterns = answer["patterns"].as_array().expect("patterns");
    assert_eq!(patterns.len(), 1, "{patterns:?}");
    assert_eq!((&patterns[0]["class"], &patterns[0]["sample"]), (&json!("new"), &json!("card token 17 rejected")));
    assert_eq!((&patterns[0]["count"], &patterns[0]["count_base"]), (&json!(41), &json!(0)));
    assert_eq!(answer["patterns_since"], json!(T0 + 5 * MINUTE));
}
