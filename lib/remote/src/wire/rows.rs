//! Hot rows: the chunks that a shard has at one moment, by number, and those that the reader lacks as Arrow IPC streams.
//!
//! What a reader holds of one answer is exactly the shard's hot rows at that moment, because a chunk never changes: those it has
//! from before are the same rows. When the reader lacks more than fits into one answer, the answer has some of it and says that
//! there is more; the reader asks again, and only the answer that completes it counts.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shipwake_store::{HotRows, RowChunk, ShardSnapshot, Table};

use super::parts::{self, Pieces};
use super::question::Have;

/// A shard's rows as they were heard.
#[derive(Debug)]
pub(crate) struct HeardShard {
    pub shard: u32,
    pub writer: u64,
    pub ready: bool,
    pub seq: Option<u64>,
    pub next_offset: u64,
    pub watermark_ns: i64,
    pub last_line: i64,
    pub tables: Vec<HeardTable>,
}

/// The rows of one table of it.
#[derive(Debug)]
pub(crate) struct HeardTable {
    pub table: Table,
    /// All chunks at that moment, in order.
    pub live: Vec<u64>,
    /// Rows that have no number.
    pub batches: Vec<HotRows>,
}

/// An answer as it was heard.
#[derive(Debug)]
pub(crate) struct HeardRows {
    /// The process: numbers of chunks are its own.
    pub process: u64,
    pub shards: Vec<HeardShard>,
    pub refused: Vec<u32>,
    /// Chunks that came with it.
    pub sent: HashMap<u64, Arc<RowChunk>>,
    /// Not everything that is live was sent or is with the reader: ask again.
    pub more: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    process: u64,
    shards: Vec<ShardForm>,
    refused: Vec<u32>,
    more: bool,
}

#[derive(Serialize, Deserialize)]
struct ShardForm {
    shard: u32,
    writer: u64,
    ready: bool,
    seq: Option<u64>,
    next_offset: u64,
    watermark_ns: i64,
    last_line: i64,
    tables: Vec<TableForm>,
}

#[derive(Serialize, Deserialize)]
struct TableForm {
    table: String,
    live: Vec<u64>,
    sent: Vec<u64>,
    /// Lengths of the streams: rows of the chunks that are sent, their resources, and rows without a number.
    rows_bytes: u64,
    resources_bytes: u64,
    batches_bytes: u64,
}

/// Whether the chunks of a table stay what they are until they are committed. Rows of windows are made anew for every snapshot.
pub(crate) fn is_stable(table: Table) -> bool {
    !matches!(table, Table::Windows | Table::Windows1s)
}

/// The bytes of an answer: shards with whether they are ready, those that were refused, and what the reader has. Of chunks it lacks
/// no more than `piece_bytes` of memory are sent, but one at least.
pub(crate) fn write_rows(
    process: u64,
    shards: &[(ShardSnapshot, bool)],
    refused: Vec<u32>,
    have: &Have,
    piece_bytes: usize,
) -> Result<Vec<u8>, ArrowError> {
    let known: HashSet<u64> =
        if have.process == process { have.chunks.iter().copied().collect() } else { HashSet::new() };
    let mut piece = Piece { known, bytes_max: piece_bytes, used: 0, more: false };
    // The rows that are made anew cannot be sent in pieces, so they come when the others are complete.
    let stable = shards.iter().flat_map(|(shard, _)| &shard.hot).filter(|(table, _)| is_stable(*table));
    let sent: HashSet<u64> = stable.flat_map(|(_, rows)| rows).filter_map(|rows| piece.choose(rows)).collect();
    let mut body = Vec::new();
    let mut forms = Vec::with_capacity(shards.len());
    for (shard, ready) in shards {
        let mut tables = Vec::with_capacity(shard.hot.len());
        for (table, rows) in &shard.hot {
            let is_sent = |id: u64| if is_stable(*table) { sent.contains(&id) } else { !piece.more };
            tables.push(write_table(*table, rows, &is_sent, !piece.more, &mut body)?);
        }
        forms.push(ShardForm {
            shard: shard.shard,
            writer: shard.writer,
            ready: *ready,
            seq: shard.seq,
            next_offset: shard.next_offset,
            watermark_ns: shard.watermark_ns,
            last_line: shard.last_line,
            tables,
        });
    }
    Ok(parts::write(&Head { process, shards: forms, refused, more: piece.more }, &body))
}

/// What goes into one answer.
struct Piece {
    known: HashSet<u64>,
    bytes_max: usize,
    used: usize,
    more: bool,
}

impl Piece {
    /// The number of a chunk that is sent.
    fn choose(&mut self, rows: &HotRows) -> Option<u64> {
        let HotRows::Chunk(chunk) = rows else { return None };
        if self.known.contains(&chunk.id()) {
            return None;
        }
        let bytes = chunk.memory_bytes();
        if self.more || self.used > 0 && self.used + bytes > self.bytes_max {
            self.more = true;
            return None;
        }
        self.used += bytes;
        Some(chunk.id())
    }
}

fn write_table(
    table: Table,
    rows: &[HotRows],
    is_sent: &dyn Fn(u64) -> bool,
    with_batches: bool,
    body: &mut Vec<u8>,
) -> Result<TableForm, ArrowError> {
    let chunks = || rows.iter().filter_map(|rows| if let HotRows::Chunk(chunk) = rows { Some(chunk) } else { None });
    let sent: Vec<&Arc<RowChunk>> = chunks().filter(|chunk| is_sent(chunk.id())).collect();
    let batches = rows.iter().filter_map(|rows| if let HotRows::Batch(batch) = rows { Some(batch) } else { None });
    let rows_bytes = put_stream(body, &table.rows_schema(), sent.iter().map(|chunk| chunk.rows()))?;
    let resources = sent.iter().map(|chunk| chunk.resources().as_ref());
    let resources_bytes = put_stream(body, &table.resources_schema(), resources)?;
    let batches_bytes = put_stream(body, &table.schema(), batches.filter(|_| with_batches))?;
    Ok(TableForm {
        table: table.name().to_owned(),
        live: chunks().map(|chunk| chunk.id()).collect(),
        sent: sent.iter().map(|chunk| chunk.id()).collect(),
        rows_bytes,
        resources_bytes,
        batches_bytes,
    })
}

/// Appends batches as a stream and gives its length; no batches are no stream.
fn put_stream<'a>(
    body: &mut Vec<u8>,
    schema: &Schema,
    batches: impl Iterator<Item = &'a RecordBatch>,
) -> Result<u64, ArrowError> {
    let before = body.len();
    let mut batches = batches.peekable();
    if batches.peek().is_none() {
        return Ok(0);
    }
    let schema = plain(schema);
    let mut writer = StreamWriter::try_new(&mut *body, &schema)?;
    for batch in batches {
        writer.write(&RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?)?;
    }
    writer.finish()?;
    drop(writer);
    Ok((body.len() - before) as u64)
}

/// The columns without their comments, which both sides have.
fn plain(schema: &Schema) -> SchemaRef {
    let field = |field: &arrow::datatypes::FieldRef| field.as_ref().clone().with_metadata(HashMap::new());
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// The answer in some bytes, or what is wrong with it.
pub(crate) fn read_rows(bytes: &Bytes) -> Result<HeardRows, String> {
    let (head, body): (Head, Bytes) = parts::read(bytes)?;
    let (mut pieces, mut sent) = (Pieces::new(body), HashMap::new());
    let mut shards = Vec::with_capacity(head.shards.len());
    for form in head.shards {
        let mut tables = Vec::with_capacity(form.tables.len());
        for table in form.tables {
            tables.push(read_table(table, &mut pieces, &mut sent)?);
        }
        shards.push(HeardShard {
            shard: form.shard,
            writer: form.writer,
            ready: form.ready,
            seq: form.seq,
            next_offset: form.next_offset,
            watermark_ns: form.watermark_ns,
            last_line: form.last_line,
            tables,
        });
    }
    pieces.end()?;
    Ok(HeardRows { process: head.process, shards, refused: head.refused, sent, more: head.more })
}

fn read_table(
    form: TableForm,
    pieces: &mut Pieces,
    sent: &mut HashMap<u64, Arc<RowChunk>>,
) -> Result<HeardTable, String> {
    let table = Table::from_name(&form.table).ok_or_else(|| format!("it names the table {:?}", form.table))?;
    let rows = take_stream(pieces, form.rows_bytes)?;
    let resources = take_stream(pieces, form.resources_bytes)?;
    if rows.len() != form.sent.len() || resources.len() != form.sent.len() {
        return Err(format!("of {} chunks it has {} and {} parts", form.sent.len(), rows.len(), resources.len()));
    }
    for ((id, rows), resources) in form.sent.into_iter().zip(rows).zip(resources) {
        let chunk = RowChunk::new(table, rows, Arc::new(resources)).map_err(|error| error.to_string())?;
        sent.insert(id, Arc::new(chunk));
    }
    let batches = take_stream(pieces, form.batches_bytes)?.into_iter().map(HotRows::Batch).collect();
    Ok(HeardTable { table, live: form.live, batches })
}

fn take_stream(pieces: &mut Pieces, length: u64) -> Result<Vec<RecordBatch>, String> {
    if length == 0 {
        return Ok(Vec::new());
    }
    let unreadable = |error: ArrowError| format!("a stream of rows: {error}");
    let stream = StreamReader::try_new(Cursor::new(pieces.next(length)?), None).map_err(unreadable)?;
    stream.collect::<Result<_, _>>().map_err(unreadable)
}
