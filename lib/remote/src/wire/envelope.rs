//! A small answer with what surrounds it: which process gave it, for which shards, and which it does not have.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shipwake_store::{
    HealthSeries, MarkerRow, MeasureSeries, PatternRow, ReleaseRow, ShardStatus, SlotSeries, ToggleRow, UsageOfDay,
    VerdictRow,
};

use super::parts::{self, Pieces};
use super::places::{KnownReleases, ReleaseForm, Releases};
use super::said::SaidForm;
use super::series::{
    HealthForm, MeasureForm, PatternForm, ReleaseRowForm, SlotForm, StatusForm, ToggleForm, UsageForm,
};

/// What shards answered, merged over the shards of the process; releases and status by shard.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Health(Vec<HealthSeries>),
    Slots(Vec<SlotSeries>),
    Patterns(Vec<PatternRow>),
    Measures(Vec<MeasureSeries>),
    Usage(Vec<UsageOfDay>),
    Toggles(Vec<ToggleRow>),
    Markers(Vec<MarkerRow>),
    Verdicts(Vec<VerdictRow>),
    Releases(Vec<(u32, Vec<ReleaseRow>)>),
    Status(Vec<ShardStatus>),
}

/// A shard that an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answering {
    pub shard: u32,
    pub writer: u64,
    /// Whether it has caught up with what the journal held when it was taken up.
    pub ready: bool,
}

/// An answer as it was heard.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub answering: Vec<Answering>,
    /// Shards that the process does not have, or not as the writer that was asked for.
    pub refused: Vec<u32>,
    pub answer: Answer,
}

#[derive(Serialize, Deserialize)]
struct Head {
    shards: Vec<Answering>,
    refused: Vec<u32>,
    releases: Vec<ReleaseForm>,
    answer: AnswerForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnswerForm {
    Health(Vec<HealthForm>),
    Slots(Vec<SlotForm>),
    Patterns(Vec<PatternForm>),
    Measures(Vec<MeasureForm>),
    Usage(Vec<UsageForm>),
    Toggles(Vec<ToggleForm>),
    Markers(Vec<SaidForm>),
    Verdicts(Vec<SaidForm>),
    Releases(Vec<(u32, Vec<ReleaseRowForm>)>),
    Status(Vec<StatusForm>),
}

/// The bytes of an answer.
pub(crate) fn write_answer(heard: &Heard) -> Vec<u8> {
    let (mut releases, mut body) = (Releases::default(), Vec::new());
    let answer = AnswerForm::of(&heard.answer, &mut releases, &mut body);
    let (shards, refused) = (heard.answering.clone(), heard.refused.clone());
    parts::write(&Head { shards, refused, releases: releases.forms, answer }, &body)
}

/// The answer in some bytes, or what is wrong with it.
pub(crate) fn read_answer(bytes: &Bytes) -> Result<Heard, String> {
    let (head, body): (Head, Bytes) = parts::read(bytes)?;
    let (releases, mut pieces) = (KnownReleases::new(head.releases), Pieces::new(body));
    let answer = head.answer.read(&releases, &mut pieces)?;
    pieces.end()?;
    Ok(Heard { answering: head.shards, refused: head.refused, answer })
}

impl AnswerForm {
    fn of(answer: &Answer, releases: &mut Releases, body: &mut Vec<u8>) -> Self {
        match answer {
            Answer::Health(all) => Self::Health(all.iter().map(|one| HealthForm::of(one, releases, body)).collect()),
            Answer::Slots(all) => Self::Slots(all.iter().map(|one| SlotForm::of(one, releases, body)).collect()),
            Answer::Patterns(all) => Self::Patterns(all.iter().map(PatternForm::of).collect()),
            Answer::Measures(all) => {
                Self::Measures(all.iter().map(|one| MeasureForm::of(one, releases, body)).collect())
            }
            Answer::Usage(all) => Self::Usage(all.iter().map(|one| UsageForm::of(one, releases, body)).collect()),
            Answer::Toggles(all) => Self::Toggles(all.iter().map(|one| ToggleForm::of(one, releases)).collect()),
            Answer::Markers(all) => Self::Markers(all.iter().map(|one| SaidForm::of_marker(one, releases)).collect()),
            Answer::Verdicts(all) => {
                Self::Verdicts(all.iter().map(|one| SaidForm::of_verdict(one, releases)).collect())
            }
            Answer::Releases(all) => {
                let mut rows = |rows: &[ReleaseRow]| rows.iter().map(|row| ReleaseRowForm::of(row, releases)).collect();
                Self::Releases(all.iter().map(|(shard, of_shard)| (*shard, rows(of_shard))).collect())
            }
            Answer::Status(all) => Self::Status(all.iter().map(StatusForm::of).collect()),
        }
    }

    fn read(self, releases: &KnownReleases, pieces: &mut Pieces) -> Result<Answer, String> {
        Ok(match self {
            Self::Health(all) => Answer::Health(each(all, |form| form.read(releases, pieces))?),
            Self::Slots(all) => Answer::Slots(each(all, |form| form.read(releases, pieces))?),
            Self::Patterns(all) => Answer::Patterns(each(all, PatternForm::read)?),
            Self::Measures(all) => Answer::Measures(each(all, |form| form.read(releases, pieces))?),
            Self::Usage(all) => Answer::Usage(each(all, |form| form.read(releases, pieces))?),
            Self::Toggles(all) => Answer::Toggles(each(all, |form| form.read(releases))?),
            Self::Markers(all) => Answer::Markers(each(all, |form| form.read_marker(releases))?),
            Self::Verdicts(all) => Answer::Verdicts(each(all, |form| form.read_verdict(releases))?),
            Self::Releases(all) => {
                let rows = |rows| each(rows, |row: ReleaseRowForm| row.read(releases));
                Answer::Releases(each(all, |(shard, of_shard)| Ok((shard, rows(of_shard)?)))?)
            }
            Self::Status(all) => Answer::Status(each(all, StatusForm::read)?),
        })
    }
}

fn each<F, T>(forms: Vec<F>, read: impl FnMut(F) -> Result<T, String>) -> Result<Vec<T>, String> {
    forms.into_iter().map(read).collect()
}
