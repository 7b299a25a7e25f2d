//! The full-text index of a segment: which rows have a word in their body.
//!
//! Made while the segment is written, in the order of its rows, so a document of the index is a row of the segment. It is cut into
//! parts of four row groups, which bounds the memory that making it takes. Words and nothing else are in it: no positions, no
//! text; what is found is compared with the row itself. A part is an index of tantivy; the parts are files of one bundle.
//!
//! Tantivy writes the files and searches them. Which rows have a word is gathered here ([`postings`]): whoever writes the segment cuts
//! its lines into words for the blooms, and hashes them, anyway.

mod bundle;
mod postings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postings::Postings;
use tantivy::directory::{Directory, RamDirectory};
use tantivy::index::SegmentComponent;
use tantivy::indexer::SegmentWriter;
use tantivy::postings::InvertedIndexSerializer;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::store::Compressor;
use tantivy::tokenizer::{RawTokenizer, TokenizerManager};
use tantivy::{DocSet, Index, IndexMeta, IndexSettings, SegmentReader, TERMINATED, TantivyError, Term};

use crate::Candidates;
use crate::encode::ROW_GROUP_ROWS;

pub(crate) use bundle::{Bundle, is_older};

/// Rows of a part.
const PART_ROWS: u32 = 4 * ROW_GROUP_ROWS as u32;
/// What tantivy wants at least for documents of its own making, of which there are none.
const ARENA_BYTES: usize = 1 << 20;
const TOKENIZER: &str = "words";
/// What tantivy calls the file that says what an index is.
const META: &str = "meta.json";
/// When the rarest word is in more than one row of so many, reading all rows is as fast as reading those.
const SELECTIVE_ROWS: u32 = 16;

/// Makes the index of a segment.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    bundle: bundle::BundleWriter,
    part: Postings,
    /// The first row of the part.
    first_row: u32,
    /// Rows that ended.
    rows: u32,
}

impl IndexBuilder {
    /// Adds a word of the body of the next row, one that is indexed; `hash` depends on the word alone.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64, word: &[u8]) {
        self.part.add(self.rows - self.first_row, hash, word);
    }

    /// Ends a row.
    #[inline]
    pub(crate) fn end_row(&mut self) -> Result<(), TantivyError> {
        self.rows += 1;
        if self.rows - self.first_row == PART_ROWS { self.end_part() } else { Ok(()) }
    }

    /// The file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, TantivyError> {
        if self.rows > self.first_row {
            self.end_part()?;
        }
        Ok(self.bundle.finish(self.rows))
    }

    fn end_part(&mut self) -> Result<(), TantivyError> {
        let (words, rows) = (std::mem::take(&mut self.part), self.rows - self.first_row);
        self.bundle.begin_part(self.first_row, rows);
        self.first_row = self.rows;
        let directory = RamDirectory::create();
        let index = write_part(&words, rows, &directory)?;
        drop(words);
        let mut paths: Vec<PathBuf> = index.directory().list_managed_files().into_iter().collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.as_path() != Path::new(META)) {
            self.bundle.add_file(path, &directory.open_read(path)?.read_bytes()?);
        }
        self.bundle.add_file(Path::new(META), &directory.atomic_read(Path::new(META))?);
        Ok(())
    }
}

/// An index of these words and so many rows, with one segment, in an empty directory.
fn write_part(words: &Postings, rows: u32, directory: &RamDirectory) -> Result<Index, TantivyError> {
    let settings = IndexSettings {
        docstore_compression: Compressor::None,
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    };
    let (schema, body) = schema();
    let mut index = Index::create(directory.clone(), schema.clone(), settings.clone())?;
    index.set_tokenizers(tokenizers());
    let segment = index.new_segment();
    // Everything that a segment has besides words and their rows is as of one without documents: nobody reads it.
    SegmentWriter::for_segment(ARENA_BYTES, segment.clone())?.finalize()?;
    for component in [SegmentComponent::Terms, SegmentComponent::Postings, SegmentComponent::Positions] {
        index.directory().delete(&segment.relative_path(component)).map_err(std::io::Error::other)?;
    }
    let mut serializer = InvertedIndexSerializer::open(&segment)?;
    let mut field = serializer.new_field(body, words.total(), None)?;
    words.each(|word, count, rows| {
        field.new_term(word, count, false)?;
        rows.for_each(|row| field.write_doc(row, 0, &[]));
        field.close_term()
    })?;
    field.close()?;
    serializer.close()?;
    let segment = segment.with_max_doc(rows);
    let meta = IndexMeta {
        index_settings: settings,
        persisted_custom_extensions: Vec::new(),
        segments: vec![segment.meta().clone()],
        schema,
        opstamp: 0,
        payload: None,
    };
    let meta = serde_json::to_vec(&meta).map_err(std::io::Error::other)?;
    index.directory().atomic_write(Path::new(META), &meta)?;
    Ok(index)
}

/// What the index knows of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// None of the words narrows it.
    Unknown,
    /// The rows that have all the words that are in the index, ascending.
    Rows(Vec<u32>),
}

/// The rows that have all `words`, of those that are indexed; parts without any of the rows `among` are not opened. An error is
/// damage, or a disk that cannot be read.
pub(crate) fn search(bundle: &Arc<Bundle>, words: &[String], among: &Candidates) -> Result<Found, TantivyError> {
    let indexed: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| shipwake_model::words::is_indexed(word)).collect();
    if indexed.is_empty() {
        return Ok(Found::Unknown);
    }
    let mut rows = Vec::new();
    for part in 0..bundle.parts() {
        let first = bundle.first_row(part);
        if !among.overlaps(&(first..first + PART_ROWS)) {
            continue;
        }
        let mut index = Index::open(bundle.directory(part))?;
        index.set_tokenizers(tokenizers());
        let body = index.schema().get_field("body")?;
        for segment in index.searchable_segments()? {
            let reader = SegmentReader::open(&segment)?;
            if !search_part(&reader, body, &indexed, first, &mut rows)? {
                return Ok(Found::Unknown);
            }
        }
    }
    Ok(Found::Rows(rows))
}

/// Adds the rows of a part; false when there are too many for it to be of use.
fn search_part(
    reader: &SegmentReader,
    body: Field,
    words: &[&str],
    first_row: u32,
    rows: &mut Vec<u32>,
) -> Result<bool, TantivyError> {
    let index = reader.inverted_index(body)?;
    let mut terms = Vec::new();
    for word in words {
        match index.get_term_info(&Term::from_field_text(body, word))? {
            Some(info) => terms.push(info),
            None => return Ok(true),
        }
    }
    terms.sort_by_key(|info| info.doc_freq);
    if terms[0].doc_freq > reader.max_doc() / SELECTIVE_ROWS && reader.max_doc() > ROW_GROUP_ROWS as u32 / 8 {
        return Ok(false);
    }
    let mut lists = Vec::new();
    for info in &terms {
        lists.push(index.read_postings_from_terminfo(info, IndexRecordOption::Basic)?);
    }
    let (rarest, others) = lists.split_first_mut().expect("there is a word");
    let mut row = rarest.doc();
    while row != TERMINATED {
        // A list may be asked again for where it stands, and never for what is behind it.
        if others.iter_mut().all(|list| list.doc() == row || list.doc() < row && list.seek(row) == row) {
            rows.push(first_row + row);
        }
        row = rarest.advance();
    }
    Ok(true)
}

fn schema() -> (Schema, Field) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false);
    let body = schema.add_text_field("body", TextOptions::default().set_indexing_options(indexing));
    (schema.build(), body)
}

fn tokenizers() -> TokenizerManager {
    let tokenizers = TokenizerManager::new();
    // Nobody asks tantivy to cut a text; it wants to know somebody who could.
    tokenizers.register(TOKENIZER, RawTokenizer::default());
    tokenizers
}
