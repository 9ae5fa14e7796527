//! Statements that change tables: what they mean (`rewrite`, `ddl`, `columns`) and how rows get there (`apply`).

mod apply;
mod columns;
mod ddl;
mod procedure;
mod returned;
mod rewrite;
mod show;

pub(crate) use apply::apply;
pub(crate) use columns::name_of;
pub(crate) use ddl::{CreateAs, Definition, definition, table_name, table_of_parts};
pub(crate) use returned::Returned;
pub(crate) use rewrite::{RowsQuery, Target, as_query, target_of};
pub(crate) use show::{create_statement, create_view_statement};
