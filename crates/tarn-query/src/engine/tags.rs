//! What PostgreSQL clients are told that a statement did.

use datafusion::sql::sqlparser::ast::Statement;

use crate::tables::TableChange;

/// As PostgreSQL names a statement that changes rows.
pub(super) fn rows_tag(statement: &Statement) -> &'static str {
    match statement {
        Statement::Insert(_) => "INSERT",
        Statement::Update(_) => "UPDATE",
        Statement::Delete(_) => "DELETE",
        _ => "MERGE",
    }
}

/// The tag of a change of the catalog.
pub(super) fn tag_of(change: &TableChange) -> &'static str {
    match change {
        TableChange::CreateNamespace { .. } => "CREATE SCHEMA",
        TableChange::DropNamespace { .. } => "DROP SCHEMA",
        TableChange::CreateTable { .. } => "CREATE TABLE",
        TableChange::DropTable { .. } => "DROP TABLE",
        TableChange::RenameTable { .. } | TableChange::AlterTable { .. } => "ALTER TABLE",
        TableChange::CreateRef { .. }
        | TableChange::DropRef { .. }
        | TableChange::FastForward { .. }
        | TableChange::RollBack { .. }
        | TableChange::AcceptSchemaChange { .. } => "CALL",
        TableChange::CommitTransaction { .. } => "COMMIT",
        TableChange::TakeBack { .. } => "ROLLBACK",
        TableChange::CreateView { .. } => "CREATE VIEW",
        TableChange::DropView { .. } => "DROP VIEW",
        TableChange::RenameView { .. } => "ALTER VIEW",
        TableChange::CommentView { .. } => "COMMENT",
        TableChange::Optimize { .. } => "OPTIMIZE",
        TableChange::Analyze { .. } => "ANALYZE",
    }
}
