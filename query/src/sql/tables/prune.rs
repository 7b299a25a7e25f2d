//! What the filters of a scan leave: a range of event time, so that segments outside it are not opened, and the values that
//! a column of text must have, so that hot rows of other services are not looked at. Pure.
//!
//! Filters that are not understood leave everything: pruning may only skip what cannot match.

use std::ops::Range;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::search::language::Search;
use crate::sql::functions::search_of;

/// The search of a filter that is `matches(body, 'text')`.
pub(super) fn matches_of(filter: &Expr) -> Option<Search> {
    let Expr::ScalarFunction(call) = filter else { return None };
    match call.args.as_slice() {
        [Expr::Column(column), Expr::Literal(ScalarValue::Utf8(Some(text)), _)]
            if call.name() == "matches" && column.name == "body" =>
        {
            search_of(text).ok()
        }
        _ => None,
    }
}

/// The range of `column` in nanoseconds that rows passing all `filters` lie in.
pub(super) fn time_range(filters: &[Expr], column: &str) -> Range<i64> {
    let mut range = i64::MIN..i64::MAX;
    for filter in filters {
        narrow(filter, column, &mut range);
    }
    range
}

/// The columns of which only some texts can pass all `filters`, each with these texts. A column may come twice.
pub(super) fn texts(filters: &[Expr]) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    filters.iter().for_each(|filter| collect_texts(filter, &mut found));
    found
}

fn collect_texts(filter: &Expr, found: &mut Vec<(String, Vec<String>)>) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            collect_texts(left, found);
            collect_texts(right, found);
        }
        _ => found.extend(texts_of(filter)),
    }
}

/// The one column that a filter looks at, and its texts that pass. A short `in (…)` comes as a chain of `or`.
fn texts_of(filter: &Expr) -> Option<(String, Vec<String>)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let ((column, mut texts), (other, more)) = (texts_of(left)?, texts_of(right)?);
            texts.extend(more);
            (column == other).then_some((column, texts))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (&**left, &**right) {
            (Expr::Column(column), literal) | (literal, Expr::Column(column)) => {
                Some((column.name.clone(), vec![literal_text(literal)?]))
            }
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = &*list.expr else { return None };
            Some((column.name.clone(), list.list.iter().map(literal_text).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn literal_text(expr: &Expr) -> Option<String> {
    let Expr::Literal(value, _) = expr else { return None };
    value.try_as_str().flatten().map(str::to_owned)
}

fn narrow(filter: &Expr, column: &str, range: &mut Range<i64>) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(left, column, range);
            narrow(right, column, range);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let (Some(()), Some(ns)) = (is_column(left, column), literal_ns(right)) {
                apply(*op, ns, range);
            } else if let (Some(()), Some(ns), Some(op)) = (is_column(right, column), literal_ns(left), op.swap()) {
                apply(op, ns, range);
            }
        }
        Expr::Between(between) if !between.negated && is_column(&between.expr, column).is_some() => {
            if let Some(low) = literal_ns(&between.low) {
                apply(Operator::GtEq, low, range);
            }
            if let Some(high) = literal_ns(&between.high) {
                apply(Operator::LtEq, high, range);
            }
        }
        _ => {}
    }
}

/// `column op ns`.
fn apply(op: Operator, ns: i64, range: &mut Range<i64>) {
    match op {
        Operator::Gt => range.start = range.start.max(ns.saturating_add(1)),
        Operator::GtEq => range.start = range.start.max(ns),
        Operator::Lt => range.end = range.end.min(ns),
        Operator::LtEq => range.end = range.end.min(ns.saturating_add(1)),
        Operator::Eq => {
            range.start = range.start.max(ns);
            range.end = range.end.min(ns.saturating_add(1));
        }
        _ => {}
    }
}

fn is_column(expr: &Expr, column: &str) -> Option<()> {
    matches!(expr, Expr::Column(found) if found.name == column).then_some(())
}

fn literal_ns(expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::TimestampNanosecond(ns, _) => *ns,
        ScalarValue::TimestampMicrosecond(us, _) => us.as_ref()?.checked_mul(1_000),
        ScalarValue::TimestampMillisecond(ms, _) => ms.as_ref()?.checked_mul(1_000_000),
        ScalarValue::TimestampSecond(s, _) => s.as_ref()?.checked_mul(1_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    fn ns(value: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(value), Some("UTC".into())))
    }

    #[test]
    fn bounds_are_read_from_either_side_and_combined() {
        let check =
            |filters: &[Expr], expected: Range<i64>| assert_eq!(time_range(filters, "time"), expected, "{filters:?}");
        check(&[], i64::MIN..i64::MAX);
        check(&[col("time").gt(ns(5)).and(col("time").lt(ns(9)))], 6..9);
        check(&[col("time").gt_eq(ns(5)), col("time").lt_eq(ns(9))], 5..10);
        check(&[ns(5).lt_eq(col("time"))], 5..i64::MAX);
        check(&[col("time").eq(ns(5))], 5..6);
        check(&[col("time").between(ns(5), ns(9))], 5..10);
        check(&[col("observed_time").gt(ns(5))], i64::MIN..i64::MAX);
        check(&[col("time").gt(ns(5)).or(col("time").lt(ns(3)))], i64::MIN..i64::MAX);
        check(&[col("time").not_eq(ns(5))], i64::MIN..i64::MAX);
        check(&[lit(ScalarValue::TimestampSecond(Some(1), None)).lt(col("time"))], 1_000_000_001..i64::MAX);
    }

    #[test]
    fn texts_are_read_where_one_column_must_have_one_of_them() {
        let check = |filter: Expr, expected: &[(&str, &[&str])]| {
            let owned = |(name, texts): &(&str, &[&str])| {
                (name.to_string(), texts.iter().map(ToString::to_string).collect::<Vec<_>>())
            };
            assert_eq!(texts(&[filter]), expected.iter().map(owned).collect::<Vec<_>>());
        };
        check(col("service").eq(lit("a")), &[("service", &["a"])]);
        check(
            lit("a").eq(col("service")).and(col("version").eq(lit("1"))),
            &[("service", &["a"]), ("version", &["1"])],
        );
        check(col("service").in_list(vec![lit("a"), lit("b")], false), &[("service", &["a", "b"])]);
        check(col("service").eq(lit("a")).or(col("service").eq(lit("b"))), &[("service", &["a", "b"])]);
        check(col("service").eq(lit("a")).or(col("version").eq(lit("b"))), &[]);
        check(col("service").eq(lit("a")).or(col("service").not_eq(lit("b"))), &[]);
        check(col("service").in_list(vec![lit("a")], true), &[]);
        check(col("service").in_list(vec![lit("a"), col("version")], false), &[]);
        check(col("service").not_eq(lit("a")), &[]);
        check(col("slot").eq(lit(7)), &[]);
        check(col("service").eq(lit(ScalarValue::Utf8(None))), &[]);
    }
}
