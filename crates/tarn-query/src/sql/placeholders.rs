//! `?` as a parameter, the way of ODBC, JDBC and ADBC: the n-th in the text is `$n`.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Expr, Value, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use crate::sql::SqlText;

/// Numbers the question marks of a statement. Positions stay what they are.
pub(super) fn number(statement: &mut DfStatement, text: &SqlText) {
    let marks: Vec<Location> = text
        .tokens()
        .iter()
        .filter(|token| matches!(&token.token, Token::Placeholder(mark) if mark == "?"))
        .map(|token| token.span.start)
        .collect();
    if !marks.is_empty() {
        visit(statement, &mut Numbering { marks });
    }
}

fn visit(statement: &mut DfStatement, numbering: &mut Numbering) {
    match statement {
        DfStatement::Statement(inner) => {
            let _ = inner.visit(numbering);
        }
        DfStatement::Explain(explain) => visit(&mut explain.statement, numbering),
        _ => {}
    }
}

struct Numbering {
    marks: Vec<Location>,
}

impl VisitorMut for Numbering {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(mark) = &mut value.value
            && mark == "?"
            && let Some(n) = self.marks.iter().position(|at| *at == value.span.start)
        {
            *mark = format!("${}", n + 1);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::{Action, parse};

    fn numbered(sql: &str) -> String {
        match parse(sql).expect("a statement").action {
            Action::Query(statement) | Action::Show(statement) => statement.to_string(),
            _ => panic!("not a query"),
        }
    }

    #[test]
    fn question_marks_are_numbered_as_they_stand_in_the_text() {
        assert_eq!(
            numbered("SELECT a, ? FROM t\nWHERE b = ? AND c IN (SELECT d FROM u WHERE e > ?) LIMIT ?"),
            "SELECT a, $1 FROM t WHERE b = $2 AND c IN (SELECT d FROM u WHERE e > $3) LIMIT $4"
        );
        assert_eq!(
            numbered("EXPLAIN SELECT '?' FROM t WHERE b = ?"),
            "EXPLAIN SELECT '?' FROM t WHERE b = $1"
        );
    }
}
