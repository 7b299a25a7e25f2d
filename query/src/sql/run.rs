//! One query from its text to batches, with every budget but time, which the caller watches: it aborts the task.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::SchemaProvider;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use shipwake_store::{MarkerQuery, PatternQuery, Store, Table};
use tracing::warn;

use crate::damage::missing_in;
use crate::error::QueryError;
use crate::metrics::Metrics;
use crate::sql::answer::{SqlAnswer, SqlMeta};
use crate::sql::budget::{QueryMemory, SharedMemory};
use crate::sql::failure::explain;
use crate::sql::guard::{self, Ask};
use crate::sql::metered;
use crate::sql::session::{Sessions, plan_for_several};
use crate::sql::spread::{Others, Spread};
use crate::sql::tables::{Read, SqlTable, comment_of};
use crate::sql::wording::no_such_table;

/// The metric of scans for the bytes that they have read.
pub(crate) const SCANNED: &str = "bytes_scanned";
/// The node of a plan that takes in what other nodes have computed: it counts what they have read.
pub(crate) const OPENED: &str = "Opened";

/// What somebody asks.
#[derive(Clone, Debug, Default)]
pub struct SqlRequest {
    /// One statement that reads.
    pub query: String,
    /// Time it may take. Default and bound: [`crate::QueryConfig`].
    pub timeout_ms: Option<u64>,
    /// Rows it may give. Default and bound: [`crate::QueryConfig`].
    pub limit: Option<usize>,
}

/// What a query may use.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub rows: usize,
    pub result_bytes: usize,
    pub query_bytes: usize,
    pub memory_bytes: usize,
    /// When its time is over, for what computes too long to be aborted.
    pub deadline: Instant,
}

/// What queries run on.
pub(crate) struct Engine {
    pub store: Arc<Store>,
    pub sessions: Arc<Sessions>,
    pub shared_memory: Arc<SharedMemory>,
    pub spread: Spread,
    pub metrics: Metrics,
}

/// A statement that is to be computed.
struct Planned<'a> {
    state: &'a SessionState,
    plan: &'a LogicalPlan,
    pool: &'a Arc<dyn MemoryPool>,
    read: &'a Read,
    limits: &'a Limits,
    now_ms: i64,
}

impl Engine {
    /// Answers one statement. `now_ms` is the moment of the snapshot.
    pub async fn run(&self, text: &str, limits: &Limits, now_ms: i64) -> Result<SqlAnswer, QueryError> {
        guard::check_size(text, limits.query_bytes)?;
        self.without_damage(|| self.run_once(text, limits, now_ms)).await
    }

    /// Asks until no damaged segment is met any more: each is set aside, and the next snapshot is without it. The answer is made of the
    /// rest, and [`missing_in`] says what it lacks.
    pub async fn without_damage<T, F: Future<Output = Result<T, QueryError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, QueryError> {
        loop {
            match ask().await {
                Err(QueryError::Damaged(error)) if self.store.set_aside(&error) => {}
                answered => return answered,
            }
        }
    }

    async fn run_once(&self, text: &str, limits: &Limits, now_ms: i64) -> Result<SqlAnswer, QueryError> {
        let memory = QueryMemory::new(self.shared_memory.clone(), limits.memory_bytes);
        let fail = |error: DataFusionError| explain(&error, text, Some(&memory));
        let (mut state, tables) = self.sessions.open(memory.clone()).map_err(fail)?;
        let dialect = state.config().options().sql_parser.dialect;
        let statement = state.sql_to_statement(text, &dialect).map_err(fail)?;
        let limited = match guard::classify(&statement)? {
            Ask::ShowTables => return Ok(answer_at_once(list_tables(), now_ms)),
            Ask::Describe(name) => return Ok(answer_at_once(describe(&name)?, now_ms)),
            Ask::Plan { limited } => limited,
        };
        let wanted = wanted_tables(&state, &statement).map_err(fail)?;
        let (read, others) = self.read_with_others(&wanted).await?;
        if !others.is_empty() {
            plan_for_several(&mut state);
        }
        register(&state, tables.as_ref(), &wanted, &read).await.map_err(fail)?;
        let plan = state.statement_to_plan(statement).await.map_err(fail)?;
        verify(&plan)?;
        let plan = if limited { limit_rows(plan, limits.rows).map_err(fail)? } else { plan };
        let pool: Arc<dyn MemoryPool> = memory.clone();
        let planned = Planned { state: &state, plan: &plan, pool: &pool, read: &read, limits, now_ms };
        let mut answer = self.answer(&planned, &others).await.map_err(fail)?;
        answer.meta.warnings.extend(resolution_warning(text, &wanted));
        answer.meta.warnings.extend(self.missing(&wanted));
        Ok(answer)
    }

    /// A session with tables in it, for plans that are built without text.
    pub async fn session_for(
        &self,
        tables: &[Table],
        memory_bytes: usize,
    ) -> Result<(SessionState, Arc<Read>), QueryError> {
        let memory = QueryMemory::new(self.shared_memory.clone(), memory_bytes);
        let (state, _) = self.sessions.open(memory).map_err(|error| explain(&error, "", None))?;
        let tables = tables.to_vec();
        let read = Arc::new(self.taken(move |store| Read::new(store, &tables)).await?);
        Ok((state, read))
    }

    /// What an answer is made without.
    fn missing(&self, wanted: &[SqlTable]) -> Vec<String> {
        let is_read = |table: Table| wanted.iter().any(|read| read.stored().contains(&table));
        missing_in(&self.store, is_read, i64::MIN..i64::MAX)
    }

    async fn read(&self, wanted: &[SqlTable]) -> Result<Read, QueryError> {
        let mut stored: Vec<Table> = wanted.iter().flat_map(|table| table.stored()).copied().collect();
        stored.sort_unstable();
        stored.dedup();
        let wants = |table| wanted.contains(&table);
        let (releases, toggles, patterns) =
            (wants(SqlTable::Releases), wants(SqlTable::Toggles), wants(SqlTable::Patterns));
        let (markers, verdicts) = (wants(SqlTable::Markers), wants(SqlTable::Verdicts));
        self.taken(move |store| {
            let mut read = Read::new(store, &stored);
            if releases {
                read.releases = store.releases();
            }
            if toggles {
                read.toggles = store.toggles(None);
            }
            if markers {
                read.markers = store.markers(&MarkerQuery::all());
            }
            if verdicts {
                read.verdicts = store.verdicts(&MarkerQuery::all());
            }
            if patterns {
                read.patterns =
                    store.patterns(&PatternQuery { service: None, environment: None, from_ms: 0, to_ms: 0 });
            }
            read
        })
        .await
    }

    /// What a question reads, taken on a thread that may wait: other processes may have some of it.
    async fn taken(&self, take: impl FnOnce(&Arc<Store>) -> Read + Send + 'static) -> Result<Read, QueryError> {
        let store = self.store.clone();
        let taken = tokio::task::spawn_blocking(move || take(&store)).await;
        taken.map_err(|error| QueryError::Engine { message: format!("the snapshot could not be taken: {error}") })
    }

    /// The snapshot, and the other nodes that compute with us: none for most statements.
    async fn read_with_others(&self, wanted: &[SqlTable]) -> Result<(Arc<Read>, Others), QueryError> {
        let mut read = self.read(wanted).await?;
        let stored: Vec<Table> = wanted.iter().flat_map(|table| table.stored()).copied().collect();
        let others = self.spread.others(&read.snapshot, &stored).await;
        read.is_checked_later = !others.is_empty();
        Ok((Arc::new(read), others))
    }

    /// Computes it with the others, and alone when one of them fails. What they had computed is thrown away as a whole.
    async fn answer(&self, planned: &Planned<'_>, others: &Others) -> Result<SqlAnswer, DataFusionError> {
        let mut nodes = 1;
        let error = match self.execute(planned, others, &mut nodes).await {
            Ok(answer) => return Ok(answer),
            Err(error) if nodes == 1 => return Err(error),
            Err(error) => error,
        };
        let reason = error.strip_backtrace();
        warn!(nodes, error = reason, "a query over several nodes failed; it is computed by this one alone");
        self.metrics.count_spread("repeated");
        self.spread.failed().await;
        let mut answer = self.execute(planned, &Others::default(), &mut nodes).await?;
        answer
            .meta
            .warnings
            .push("another node failed while it computed its part; this one computed all of it".to_owned());
        Ok(answer)
    }

    /// `nodes` says by how many it is computed, as soon as that is known.
    async fn execute(
        &self,
        planned: &Planned<'_>,
        others: &Others,
        nodes: &mut usize,
    ) -> Result<SqlAnswer, DataFusionError> {
        let Planned { state, plan, pool, read, limits, now_ms } = *planned;
        let optimised = metered::charged_for_values(state.optimize(plan)?, pool, limits.deadline)?;
        let physical = guarded(state.query_planner().create_physical_plan(&optimised, state).await?, pool)?;
        let schema = physical.schema();
        let (physical, context) = if read.is_checked_later {
            let spreading = self.spread.plan(physical, state, others, &read.snapshot, limits.deadline).await?;
            *nodes = spreading.nodes;
            (spreading.plan, spreading.state.task_ctx())
        } else {
            (physical, state.task_ctx())
        };
        let mut stream = execute_stream(physical.clone(), context)?;
        let mut collected = Collected::new(limits);
        while let Some(batch) = stream.next().await {
            if !collected.take(batch?) {
                break;
            }
        }
        drop(stream);
        let scanned_bytes = segment_bytes(physical.as_ref()) + read.hot_bytes.load(Ordering::Relaxed);
        let positions = read.snapshot.shards.iter().map(|shard| (shard.shard, shard.next_offset)).collect();
        let meta = SqlMeta {
            rows: collected.rows,
            scanned_bytes,
            elapsed_ms: 0,
            as_of_ms: now_ms,
            truncated: collected.truncated,
            positions,
            nodes: *nodes,
            warnings: Vec::new(),
            incomplete: Vec::new(),
        };
        if *nodes > 1 {
            self.metrics.count_spread("spread");
        }
        Ok(SqlAnswer { schema, batches: collected.batches, meta })
    }
}

/// The plan with a pause above every join, and windows that are charged for the rows they hold. A join can make rows for
/// hours out of inputs that it has read already, so nothing below it ever waits, and a task that never waits cannot be
/// aborted when its time is over.
fn guarded(
    plan: Arc<dyn ExecutionPlan>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let guarded = plan.transform_up(|node| match node.name() {
        name if name.contains("Join") => Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _)),
        "WindowAggExec" | "BoundedWindowAggExec" => metered::charged_for_rows(node, pool).map(Transformed::yes),
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(guarded.data)
}

/// The tables a statement names. Names that are not ours are left to the planner, which says that they do not exist. A
/// question about the information schema is about all of them.
fn wanted_tables(
    state: &SessionState,
    statement: &datafusion::sql::parser::Statement,
) -> Result<Vec<SqlTable>, DataFusionError> {
    let references = state.resolve_table_references(statement)?;
    if references.iter().any(|reference| reference.schema().is_some_and(|schema| schema == "information_schema")) {
        return Ok(SqlTable::ALL.to_vec());
    }
    Ok(references.iter().filter_map(|reference| SqlTable::from_name(reference.table())).collect())
}

/// Windows hold every request once for each resolution: a sum without choosing one counts them several times.
fn resolution_warning(text: &str, wanted: &[SqlTable]) -> Option<String> {
    let text = text.to_lowercase();
    if text.contains("resolution_s") {
        return None;
    }
    // A question about the information schema opens all tables, and names none of them.
    let windowed = |table: &&SqlTable| matches!(table, SqlTable::ReleaseHealth | SqlTable::Windows);
    let table = wanted.iter().filter(windowed).find(|table| text.contains(table.name()))?;
    Some(format!(
        "{} has a row for each resolution: add `resolution_s = 60` (or 1, 10, 3600), or sums count every request several \
         times",
        table.name()
    ))
}

async fn register(
    state: &SessionState,
    tables: &dyn SchemaProvider,
    wanted: &[SqlTable],
    read: &Arc<Read>,
) -> Result<(), DataFusionError> {
    for table in wanted {
        if !tables.table_exist(table.name()) {
            tables.register_table(table.name().to_owned(), table.provider(state, read).await?)?;
        }
    }
    Ok(())
}

/// The statement was classified by its text; this looks at what was planned from it.
fn verify(plan: &LogicalPlan) -> Result<(), QueryError> {
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(plan).map_err(|error| QueryError::NotAllowed {
        what: error.strip_backtrace().rsplit(": ").next().unwrap_or("this statement").to_owned(),
    })
}

/// One row more than is given out tells whether there were more.
fn limit_rows(plan: LogicalPlan, rows: usize) -> Result<LogicalPlan, DataFusionError> {
    LogicalPlanBuilder::from(plan).limit(0, Some(rows.saturating_add(1)))?.build()
}

/// Batches up to the bounds.
struct Collected {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    truncated: bool,
}

impl Collected {
    fn new(limits: &Limits) -> Self {
        Self {
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
            rows_max: limits.rows,
            bytes_max: limits.result_bytes,
            truncated: false,
        }
    }

    /// Takes what fits; `false` when the answer is full.
    fn take(&mut self, batch: RecordBatch) -> bool {
        let room = self.rows_max - self.rows;
        self.truncated = batch.num_rows() > room;
        let batch = if self.truncated { batch.slice(0, room) } else { batch };
        // A slice shares its buffers, so its rows are weighed by their part of them.
        let bytes = sliced_bytes(&batch);
        if self.bytes + bytes > self.bytes_max {
            self.truncated = true;
            let fitting = batch.num_rows() * (self.bytes_max - self.bytes) / bytes.max(1);
            self.rows += fitting;
            self.batches.push(batch.slice(0, fitting));
            return false;
        }
        self.bytes += bytes;
        self.rows += batch.num_rows();
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        !self.truncated
    }
}

pub(crate) fn sliced_bytes(batch: &RecordBatch) -> usize {
    let bytes = |column: &arrow::array::ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_default();
    batch.columns().iter().map(bytes).sum()
}

/// Bytes that the plan read from segments.
pub(crate) fn segment_bytes(plan: &dyn ExecutionPlan) -> u64 {
    let own =
        plan.metrics().and_then(|metrics| metrics.sum_by_name(SCANNED)).map_or(0, |value| value.as_usize() as u64);
    if plan.name() == OPENED {
        return own;
    }
    own + plan.children().iter().map(|child| segment_bytes(child.as_ref())).sum::<u64>()
}

fn answer_at_once(batch: RecordBatch, now_ms: i64) -> SqlAnswer {
    let meta = SqlMeta { rows: batch.num_rows(), as_of_ms: now_ms, nodes: 1, ..SqlMeta::default() };
    SqlAnswer { schema: batch.schema(), batches: vec![batch], meta }
}

fn text_batch(columns: &[(&str, Vec<String>)]) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, false)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let arrays = columns.iter().map(|(_, values)| Arc::new(StringArray::from(values.clone())) as _).collect();
    RecordBatch::try_new(schema, arrays).expect("every column has a value for each row")
}

fn list_tables() -> RecordBatch {
    text_batch(&[
        ("table_name", SqlTable::ALL.iter().map(|table| table.name().to_owned()).collect()),
        ("one_row_is", SqlTable::ALL.iter().map(|table| table.comment().to_owned()).collect()),
    ])
}

fn describe(name: &str) -> Result<RecordBatch, QueryError> {
    let plain_name = name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_lowercase();
    let Some(table) = SqlTable::from_name(&plain_name) else {
        return Err(QueryError::Sql { message: no_such_table(name), position: None });
    };
    let schema = table.documented_schema();
    let column = |of: fn(&Field) -> String| schema.fields().iter().map(|field| of(field)).collect();
    Ok(text_batch(&[
        ("column_name", column(|field| field.name().clone())),
        ("data_type", column(|field| type_name(field.data_type()))),
        ("is_nullable", column(|field| if field.is_nullable() { "YES" } else { "NO" }.to_owned())),
        ("comment", column(|field| comment_of(field).to_owned())),
    ]))
}

/// The type in a word or two.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "integer".to_owned(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "integer".to_owned(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        DataType::Map(..) => "map".to_owned(),
        DataType::List(item) | DataType::LargeList(item) => format!("list of {}", type_name(item.data_type())),
        DataType::Struct(_) => "struct".to_owned(),
        DataType::Null => "null".to_owned(),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_without_a_resolution_are_warned_about() {
        let warned = |text: &str, table: SqlTable| resolution_warning(text, &[table]).is_some();
        assert!(warned("select sum(requests) from release_health", SqlTable::ReleaseHealth));
        assert!(warned("SELECT * FROM Windows", SqlTable::Windows));
        assert!(!warned("select 1 from release_health where RESOLUTION_S = 60", SqlTable::ReleaseHealth));
        assert!(!warned("select 1 from logs", SqlTable::Logs));
        assert!(!warned("select * from information_schema.tables", SqlTable::Windows));
    }
}
