//! `matches(body, 'search text')`: whether a text has the words and phrases of a search, as `docs/search.md` says. Fields are
//! columns in SQL, so the search has none. Null for a null text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::search::language::Search;
use crate::search::language::parse::parse;
use crate::search::matching::{columns, matches};
use crate::search::rows::Rows;

/// See the file's head.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Matches {
    signature: Signature,
}

impl Matches {
    pub fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Matches {
    fn name(&self) -> &str {
        "matches"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    /// A search that cannot be read is refused before anything is.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(Some(ScalarValue::Utf8(Some(text)))) = args.scalar_arguments.get(1) else { return Err(no_text()) };
        search_of(text)?;
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) = &args.args[1] else {
            return Err(no_text());
        };
        let search = search_of(text)?;
        let bodies = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(found(&search, bodies.as_string::<i32>())?)))
    }
}

fn no_text() -> DataFusionError {
    DataFusionError::Plan("the search of matches is one text, written between single quotes".to_owned())
}

/// The search of a text, which has no fields.
pub(crate) fn search_of(text: &str) -> Result<Search> {
    let search = parse(text).map_err(|error| {
        DataFusionError::Plan(format!(
            "the search {text:?} is not understood at character {}: {}",
            error.at + 1,
            error.message
        ))
    })?;
    if columns(&search).iter().any(|column| *column != "body") {
        let message =
            "matches looks at one text: write fields as conditions of their own, for example service = 'checkout'";
        return Err(DataFusionError::Plan(message.to_owned()));
    }
    Ok(search)
}

fn found(search: &Search, bodies: &StringArray) -> Result<BooleanArray> {
    let schema = Arc::new(Schema::new(vec![Field::new("body", DataType::Utf8, true)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(bodies.clone()) as ArrayRef])?;
    let found = matches(search, &Rows::of_batch(&batch));
    Ok(found.into_iter().enumerate().map(|(row, found)| bodies.is_valid(row).then_some(found)).collect())
}
