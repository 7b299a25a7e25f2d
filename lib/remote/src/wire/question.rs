//! What a reader asks an owner, as JSON.

use serde::{Deserialize, Serialize};
use shipwake_store::{HealthQuery, MarkerQuery, MeasureQuery, PatternQuery, Table};

/// What is asked of shards. As [`shipwake_store::HotShard`] asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Snapshot(Vec<Table>),
    Health(HealthQuery),
    Slots(HealthQuery),
    Patterns(PatternQuery),
    Measures(MeasureQuery),
    Usage { service: String, environment: String },
    Toggles(Option<(String, String)>),
    Markers(MarkerQuery),
    Verdicts(MarkerQuery),
    Releases,
    Status,
}

/// A question to one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub shards: Vec<Wanted>,
    pub question: Question,
    pub have: Have,
}

/// A shard that is asked for, and who is believed to write it: the process answers only when that is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub shard: u32,
    pub writer: u64,
}

/// Chunks of hot rows that the reader has. Their numbers mean something only within the process that gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Have {
    pub process: u64,
    pub chunks: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct RequestForm {
    shards: Vec<Wanted>,
    #[serde(flatten)]
    question: QuestionForm,
    #[serde(default, skip_serializing_if = "is_empty")]
    have: Have,
}

fn is_empty(have: &Have) -> bool {
    have.chunks.is_empty()
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
enum QuestionForm {
    Snapshot { tables: Vec<String> },
    Health { query: HealthForm },
    Slots { query: HealthForm },
    Patterns { query: PatternsForm },
    Measures { query: MeasuresForm },
    Usage { service: String, environment: String },
    Toggles { place: Option<(String, String)> },
    Markers { query: MarkersForm },
    Verdicts { query: MarkersForm },
    Releases,
    Status,
}

#[derive(Serialize, Deserialize)]
struct HealthForm {
    service: Option<String>,
    environment: Option<String>,
    from_ms: i64,
    to_ms: i64,
    step_s: u32,
    by_route: bool,
}

#[derive(Serialize, Deserialize)]
struct PatternsForm {
    service: Option<String>,
    environment: Option<String>,
    from_ms: i64,
    to_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct MeasuresForm {
    service: Option<String>,
    environment: Option<String>,
    signals: Vec<String>,
    values: Vec<String>,
    from_ms: i64,
    to_ms: i64,
    step_s: u32,
}

impl HealthForm {
    fn of(query: &HealthQuery) -> Self {
        let HealthQuery { service, environment, from_ms, to_ms, step_s, by_route } = query.clone();
        HealthForm { service, environment, from_ms, to_ms, step_s, by_route }
    }

    fn into_query(self) -> HealthQuery {
        let HealthForm { service, environment, from_ms, to_ms, step_s, by_route } = self;
        HealthQuery { service, environment, from_ms, to_ms, step_s, by_route }
    }
}

#[derive(Serialize, Deserialize)]
struct MarkersForm {
    service: Option<String>,
    environment: Option<String>,
    from_ms: i64,
    to_ms: i64,
    limit: usize,
}

impl MarkersForm {
    fn of(query: &MarkerQuery) -> Self {
        let (service, environment) = (query.service.clone(), query.environment.clone());
        Self { service, environment, from_ms: query.from_ms, to_ms: query.to_ms, limit: query.limit }
    }

    fn read(self) -> MarkerQuery {
        let MarkersForm { service, environment, from_ms, to_ms, limit } = self;
        MarkerQuery { service, environment, from_ms, to_ms, limit }
    }
}

impl Request {
    /// The bytes of a question.
    pub fn write(&self) -> Vec<u8> {
        let question = QuestionForm::of(&self.question);
        let form = RequestForm { shards: self.shards.clone(), question, have: self.have.clone() };
        serde_json::to_vec(&form).expect("questions have text keys and finite numbers")
    }

    /// The question in some bytes, or what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let form: RequestForm = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(Self { shards: form.shards, question: form.question.into_question()?, have: form.have })
    }
}

impl QuestionForm {
    fn of(question: &Question) -> Self {
        match question {
            Question::Snapshot(tables) => {
                QuestionForm::Snapshot { tables: tables.iter().map(|table| table.name().to_owned()).collect() }
            }
            Question::Health(query) => QuestionForm::Health { query: HealthForm::of(query) },
            Question::Slots(query) => QuestionForm::Slots { query: HealthForm::of(query) },
            Question::Patterns(PatternQuery { service, environment, from_ms, to_ms }) => {
                let (service, environment) = (service.clone(), environment.clone());
                let (from_ms, to_ms) = (*from_ms, *to_ms);
                QuestionForm::Patterns { query: PatternsForm { service, environment, from_ms, to_ms } }
            }
            Question::Measures(query) => QuestionForm::Measures {
                query: MeasuresForm {
                    service: query.service.clone(),
                    environment: query.environment.clone(),
                    signals: query.signals.iter().map(|signal| (*signal).to_owned()).collect(),
                    values: query.values.iter().map(|signal| (*signal).to_owned()).collect(),
                    from_ms: query.from_ms,
                    to_ms: query.to_ms,
                    step_s: query.step_s,
                },
            },
            Question::Usage { service, environment } => {
                QuestionForm::Usage { service: service.clone(), environment: environment.clone() }
            }
            Question::Toggles(place) => QuestionForm::Toggles { place: place.clone() },
            Question::Markers(query) => QuestionForm::Markers { query: MarkersForm::of(query) },
            Question::Verdicts(query) => QuestionForm::Verdicts { query: MarkersForm::of(query) },
            Question::Releases => QuestionForm::Releases,
            Question::Status => QuestionForm::Status,
        }
    }

    fn into_question(self) -> Result<Question, String> {
        Ok(match self {
            QuestionForm::Snapshot { tables } => {
                let table = |name: &String| Table::from_name(name).ok_or_else(|| format!("there is no table {name:?}"));
                Question::Snapshot(tables.iter().map(table).collect::<Result<_, _>>()?)
            }
            QuestionForm::Health { query } => Question::Health(query.into_query()),
            QuestionForm::Slots { query } => Question::Slots(query.into_query()),
            QuestionForm::Patterns { query } => {
                let PatternsForm { service, environment, from_ms, to_ms } = query;
                Question::Patterns(PatternQuery { service, environment, from_ms, to_ms })
            }
            QuestionForm::Measures { query } => Question::Measures(MeasureQuery {
                service: query.service,
                environment: query.environment,
                signals: signals(&query.signals)?,
                values: signals(&query.values)?,
                from_ms: query.from_ms,
                to_ms: query.to_ms,
                step_s: query.step_s,
            }),
            QuestionForm::Usage { service, environment } => Question::Usage { service, environment },
            QuestionForm::Toggles { place } => Question::Toggles(place),
            QuestionForm::Markers { query } => Question::Markers(query.read()),
            QuestionForm::Verdicts { query } => Question::Verdicts(query.read()),
            QuestionForm::Releases => Question::Releases,
            QuestionForm::Status => Question::Status,
        })
    }
}

/// Every set of signals that can be asked for, by the bits of its members.
const SIGNAL_SETS: [&[&str]; 8] = [
    &[],
    &["kpi"],
    &["usage"],
    &["kpi", "usage"],
    &["toggle"],
    &["kpi", "toggle"],
    &["usage", "toggle"],
    &["kpi", "usage", "toggle"],
];

/// A set of signals, whose order does not matter.
fn signals(names: &[String]) -> Result<&'static [&'static str], String> {
    let bit = |name: &String| match signal(name) {
        Some("kpi") => Ok(1),
        Some("usage") => Ok(2),
        Some("toggle") => Ok(4),
        _ => Err(format!("there is no signal {name:?}")),
    };
    let mut set = 0;
    for name in names {
        set |= bit(name)?;
    }
    Ok(SIGNAL_SETS[set])
}

/// A signal of measures by its name.
pub(super) fn signal(name: &str) -> Option<&'static str> {
    ["kpi", "usage", "toggle"].into_iter().find(|signal| *signal == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_read_as_it_was_written() {
        let (service, environment) = (Some("shop".to_owned()), None);
        let questions = [
            Question::Snapshot(Table::ALL.to_vec()),
            Question::Health(HealthQuery {
                service: service.clone(),
                environment: environment.clone(),
                from_ms: -5,
                to_ms: i64::MAX,
                step_s: 30,
                by_route: true,
            }),
            Question::Slots(HealthQuery {
                service: service.clone(),
                environment: Some("prod".to_owned()),
                from_ms: 0,
                to_ms: 10,
                step_s: 10,
                by_route: false,
            }),
            Question::Patterns(PatternQuery { service: service.clone(), environment: None, from_ms: 1, to_ms: 2 }),
            Question::Measures(MeasureQuery {
                service,
                environment,
                signals: &["kpi", "usage", "toggle"],
                values: &["toggle"],
                from_ms: 1,
                to_ms: 2,
                step_s: 10,
            }),
            Question::Usage { service: "a".to_owned(), environment: "b".to_owned() },
            Question::Toggles(Some(("a".to_owned(), "b".to_owned()))),
            Question::Toggles(None),
            Question::Markers(MarkerQuery::all()),
            Question::Verdicts(MarkerQuery { environment: Some("b".to_owned()), limit: 3, ..MarkerQuery::all() }),
            Question::Releases,
            Question::Status,
        ];
        for question in questions {
            let have = Have { process: u64::MAX, chunks: vec![1, u64::MAX] };
            let request = Request { shards: vec![Wanted { shard: 3, writer: u64::MAX }], question, have };
            assert_eq!(Request::read(&request.write()).expect("reads"), request);
        }
        assert!(Request::read(br#"{"shards":[],"ask":"snapshot","tables":["nothing"]}"#).is_err());
        assert!(Request::read(br#"{"shards":[],"ask":"everything"}"#).is_err());
    }
}
