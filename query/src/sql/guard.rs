//! What may be asked at all: one statement that only reads, and not more text than any real question has. Pure.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::QueryError;

/// Words and operators of a query. Each can make the syntax tree one level deeper, and the planner walks the tree by
/// recursion: this bound and the stack of the query threads (`query.rs`) belong together.
const WORDS_MAX: usize = 2_000;

/// What a permitted statement is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Something DataFusion answers, and whether its rows may be limited.
    Plan { limited: bool },
    /// `SHOW TABLES`.
    ShowTables,
    /// `DESCRIBE table` or `SHOW COLUMNS FROM table`.
    Describe(String),
}

/// Refuses a text that is too large to plan.
pub(crate) fn check_size(text: &str, bytes_max: usize) -> Result<(), QueryError> {
    if text.len() > bytes_max {
        return Err(QueryError::TooComplex { what: "bytes of text", limit: bytes_max });
    }
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else {
        return Ok(()); // The parser says where it is broken.
    };
    // A long list of literals is flat: commas and literals do not count.
    let flat = |token: &Token| {
        matches!(
            token,
            Token::Whitespace(_)
                | Token::Comma
                | Token::Number(..)
                | Token::SingleQuotedString(_)
                | Token::RParen
                | Token::Period
        )
    };
    let words = tokens.iter().filter(|token| !flat(token)).count();
    if words > WORDS_MAX {
        return Err(QueryError::TooComplex { what: "words and operators", limit: WORDS_MAX });
    }
    Ok(())
}

/// Sorts a statement into what is answered and what is refused.
pub(crate) fn classify(statement: &Statement) -> Result<Ask, QueryError> {
    match statement {
        Statement::Statement(sql) => classify_sql(sql),
        Statement::Explain(explain) => match classify(&explain.statement)? {
            Ask::Plan { .. } => Ok(Ask::Plan { limited: false }),
            _ => Err(refused("EXPLAIN of that statement")),
        },
        Statement::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(refused("COPY")),
        Statement::Reset(_) => Err(refused("RESET")),
    }
}

fn classify_sql(statement: &Sql) -> Result<Ask, QueryError> {
    match statement {
        Sql::Query(_) => Ok(Ask::Plan { limited: true }),
        Sql::Explain { statement, .. } => match classify_sql(statement)? {
            Ask::Plan { .. } => Ok(Ask::Plan { limited: false }),
            _ => Err(refused("EXPLAIN of that statement")),
        },
        Sql::ShowTables { .. } => Ok(Ask::ShowTables),
        Sql::ExplainTable { table_name, .. } => Ok(Ask::Describe(table_name.to_string())),
        Sql::ShowColumns { show_options, .. } => {
            match show_options.show_in.as_ref().and_then(|show| show.parent_name.as_ref()) {
                Some(name) => Ok(Ask::Describe(name.to_string())),
                None => Err(refused("SHOW COLUMNS without a table")),
            }
        }
        other => Err(refused(&first_words(&other.to_string()))),
    }
}

fn refused(what: &str) -> QueryError {
    QueryError::NotAllowed { what: what.to_owned() }
}

/// The first two words, which name the kind of a statement.
fn first_words(text: &str) -> String {
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Ask, QueryError> {
        let statements = datafusion::sql::parser::DFParser::parse_sql(text).expect(text);
        classify(&statements[0])
    }

    #[test]
    fn reading_is_allowed() {
        assert_eq!(ask("select 1").expect("reads"), Ask::Plan { limited: true });
        assert_eq!(ask("with a as (select 1) select * from a").expect("reads"), Ask::Plan { limited: true });
        assert_eq!(ask("explain select 1").expect("reads"), Ask::Plan { limited: false });
        assert_eq!(ask("show tables").expect("reads"), Ask::ShowTables);
        assert_eq!(ask("describe logs").expect("reads"), Ask::Describe("logs".to_owned()));
        assert_eq!(ask("show columns from logs").expect("reads"), Ask::Describe("logs".to_owned()));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (text, what) in [
            ("create table a (b int)", "CREATE TABLE"),
            ("create view a as select 1", "CREATE VIEW"),
            ("create external table a stored as csv location '/etc/passwd'", "CREATE EXTERNAL TABLE"),
            ("insert into logs values (1)", "INSERT INTO"),
            ("update logs set body = ''", "UPDATE LOGS"),
            ("delete from logs", "DELETE FROM"),
            ("drop table logs", "DROP TABLE"),
            ("copy logs to '/tmp/x.csv'", "COPY"),
            ("set datafusion.execution.batch_size = 1", "SET"),
            ("explain create table a (b int)", "CREATE TABLE"),
            ("show datafusion.execution.batch_size", "SHOW"),
            ("prepare a as select 1", "PREPARE A"),
            ("begin", "BEGIN"),
        ] {
            match ask(text) {
                Err(QueryError::NotAllowed { what: named }) => assert!(named.starts_with(what), "{text}: {named}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_long_list_is_fine_and_a_long_chain_is_not() {
        let list = format!("select 1 where 1 in ({})", vec!["1"; 10_000].join(","));
        assert!(check_size(&list, 1 << 20).is_ok());
        let chain = vec!["1"; 3_000].join("+");
        assert!(matches!(check_size(&format!("select {chain}"), 1 << 20), Err(QueryError::TooComplex { .. })));
        assert!(matches!(check_size(&" ".repeat(100), 99), Err(QueryError::TooComplex { what: "bytes of text", .. })));
    }
}
