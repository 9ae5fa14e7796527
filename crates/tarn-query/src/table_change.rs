//! What changes tables as a whole.

use tarn_core::TableName;
use tarn_lakehouse::{CreateTable, Optimize, RefKind, TableAlteration};

use crate::AsOf;
use crate::views::NewView;

/// A change of the catalog or of a table as a whole.
#[derive(Debug)]
pub enum TableChange {
    /// A namespace comes.
    CreateNamespace {
        /// Its name.
        name: String,
        /// Nothing happens where it exists.
        if_not_exists: bool,
    },
    /// An empty namespace goes.
    DropNamespace {
        /// Its name.
        name: String,
        /// Nothing happens where it does not exist.
        if_exists: bool,
    },
    /// A table comes.
    CreateTable {
        /// What it is made with.
        table: Box<CreateTable>,
        /// Nothing happens where one of its name exists.
        if_not_exists: bool,
    },
    /// A table goes.
    DropTable {
        /// Its name.
        name: TableName,
        /// Nothing happens where it does not exist.
        if_exists: bool,
        /// Its files go too.
        purge: bool,
    },
    /// A table takes another name.
    RenameTable {
        /// Its name until now.
        from: TableName,
        /// Its name from now on.
        to: TableName,
    },
    /// Columns or properties of a table change.
    AlterTable {
        /// Its name.
        name: TableName,
        /// The changes, all or none.
        changes: Vec<TableAlteration>,
        /// Nothing happens where it does not exist.
        if_exists: bool,
    },
    /// A table that stands still before a change of its source's columns follows it.
    AcceptSchemaChange {
        /// The table.
        table: TableName,
    },
    /// A snapshot of a table gets a name.
    CreateRef {
        /// The table.
        table: TableName,
        /// Branch or tag.
        kind: RefKind,
        /// The name.
        name: String,
        /// The snapshot; the newest without one.
        snapshot_id: Option<i64>,
    },
    /// A name of a snapshot goes.
    DropRef {
        /// The table.
        table: TableName,
        /// The name.
        name: String,
    },
    /// A branch moves on to where another name points.
    FastForward {
        /// The table.
        table: TableName,
        /// The branch that moves.
        branch: String,
        /// The branch or tag that came from it.
        to: String,
    },
    /// A transaction ends: all its tables go on to its branch, or none does.
    CommitTransaction {
        /// Its branch.
        branch: String,
        /// Its tables.
        tables: Vec<TableName>,
    },
    /// A transaction goes back to where it was with a table.
    TakeBack {
        /// Its branch.
        branch: String,
        /// The table.
        table: TableName,
        /// Its snapshot then; none where it had changed nothing.
        head: Option<i64>,
    },
    /// A table goes back to a state of before.
    RollBack {
        /// The table.
        table: TableName,
        /// The state.
        to: AsOf,
    },
    /// Different values of a table's columns are counted.
    Analyze {
        /// Its name.
        name: TableName,
    },
    /// A view comes.
    CreateView {
        /// What it is.
        view: Box<NewView>,
        /// One of its name gets this as its newest version.
        or_replace: bool,
        /// Nothing happens where one of its name exists.
        if_not_exists: bool,
    },
    /// A view goes.
    DropView {
        /// Its name.
        name: TableName,
        /// Nothing happens where it does not exist.
        if_exists: bool,
    },
    /// A view takes another name.
    RenameView {
        /// Its name until now.
        from: TableName,
        /// Its name from now on.
        to: TableName,
        /// Nothing happens where it does not exist.
        if_exists: bool,
    },
    /// A view gets or loses its comment.
    CommentView {
        /// Its name.
        name: TableName,
        /// The comment; none takes it away.
        comment: Option<String>,
        /// Nothing happens where it does not exist.
        if_exists: bool,
    },
    /// Small and worn files of a table are rewritten.
    Optimize {
        /// Its name.
        name: TableName,
        /// Which files, and in which order their rows come.
        optimize: Optimize,
    },
}
