//! The Iceberg catalog in SQL.

use async_trait::async_trait;
use tarn_core::{RequestContext, nearest};

use super::document::write_document;
use super::{Param, Row, SqlStore, Tx};
use crate::catalog::{
    CatalogStore, PointerInsert, PointerSwap, Properties, PropertiesUpdate, RelationKind, TablePointer,
};
use crate::error::MetaError;

// Other SQL catalogs know a namespace by having a property; this is the one that they write, too.
const EXISTS: &str = "exists";

// What other catalogs call a view in the column `iceberg_type`; older ones leave it empty for a table.
const VIEW: &str = "VIEW";

const SELECT_POINTER: &str = "SELECT table_namespace, table_name, metadata_location, previous_metadata_location, \
     iceberg_type FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
const SELECT_POINTERS: &str = "SELECT table_namespace, table_name, metadata_location, previous_metadata_location, \
     iceberg_type FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2";
const SELECT_ALL_POINTERS: &str = "SELECT table_namespace, table_name, metadata_location, \
     previous_metadata_location, iceberg_type FROM iceberg_tables WHERE catalog_name = $1";
const NAMESPACE_NAMES: &str = "SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1 \
     UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1";
const NAMESPACE_PROPERTIES: &str = "SELECT property_key, property_value FROM iceberg_namespace_properties \
     WHERE catalog_name = $1 AND namespace = $2";
const HAS_DOCUMENT: &str = "SELECT 1 FROM documents WHERE tenant = $1 AND space = $2 AND key = $3";
const COUNT_TABLES: &str =
    "SELECT COUNT(*) FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2";

fn pointer_of(row: &Row) -> Result<TablePointer, MetaError> {
    let is_view = row.opt_text(4)?.is_some_and(|kind| kind.eq_ignore_ascii_case(VIEW));
    Ok(TablePointer {
        kind: if is_view { RelationKind::View } else { RelationKind::Table },
        namespace: row.text(0)?,
        name: row.text(1)?,
        metadata_location: row.opt_text(2)?.unwrap_or_default(),
        previous_location: row.opt_text(3)?,
    })
}

fn full_name(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

fn sorted_pointers(rows: &[Row], kind: RelationKind) -> Result<Vec<TablePointer>, MetaError> {
    let mut pointers = rows.iter().map(pointer_of).collect::<Result<Vec<_>, _>>()?;
    pointers.retain(|pointer| pointer.kind == kind);
    pointers.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(pointers)
}

/// A writing transaction on one tenant's catalog.
struct CatalogTx<'a> {
    tx: Tx,
    catalog: &'a str,
    ctx: &'a RequestContext,
}

impl CatalogTx<'_> {
    /// With the receipt that the caller asked for. What is written under its key stays: work that a call leaves behind, such
    /// as the upkeep of its table, may commit after the call has its answer.
    async fn commit(mut self) -> Result<(), MetaError> {
        if let Some(receipt) = &self.ctx.receipt {
            let place = [self.catalog.into(), receipt.space.into(), receipt.key.as_str().into()];
            if self.tx.row(HAS_DOCUMENT, &place).await?.is_none() {
                write_document(&mut self.tx, self.ctx, receipt.space, &receipt.key, &receipt.value).await?;
            }
        }
        self.tx.commit().await
    }

    async fn namespaces(&mut self) -> Result<Vec<String>, MetaError> {
        let rows = self.tx.rows(NAMESPACE_NAMES, &[self.catalog.into()]).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    async fn require_namespace(&mut self, namespace: &str) -> Result<(), MetaError> {
        let names = self.namespaces().await?;
        if names.iter().any(|name| name == namespace) {
            return Ok(());
        }
        let similar = nearest(namespace, names.iter().map(String::as_str)).map(ToString::to_string);
        Err(MetaError::NamespaceNotFound { namespace: namespace.into(), similar })
    }

    async fn properties(&mut self, namespace: &str) -> Result<Properties, MetaError> {
        let rows = self.tx.rows(NAMESPACE_PROPERTIES, &[self.catalog.into(), namespace.into()]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.opt_text(1)?.unwrap_or_default()))).collect()
    }

    async fn set_property(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), MetaError> {
        self.tx
            .execute(
                "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (catalog_name, namespace, property_key) \
                 DO UPDATE SET property_value = excluded.property_value",
                &[self.catalog.into(), namespace.into(), key.into(), value.into()],
            )
            .await?;
        Ok(())
    }

    async fn remove_property(&mut self, namespace: &str, key: &str) -> Result<bool, MetaError> {
        let removed = self
            .tx
            .execute(
                "DELETE FROM iceberg_namespace_properties \
                 WHERE catalog_name = $1 AND namespace = $2 AND property_key = $3",
                &[self.catalog.into(), namespace.into(), key.into()],
            )
            .await?;
        Ok(removed > 0)
    }

    async fn pointer(&mut self, namespace: &str, name: &str) -> Result<Option<TablePointer>, MetaError> {
        let row = self.tx.row(SELECT_POINTER, &[self.catalog.into(), namespace.into(), name.into()]).await?;
        row.as_ref().map(pointer_of).transpose()
    }

    async fn pointer_to(
        &mut self,
        kind: RelationKind,
        namespace: &str,
        name: &str,
    ) -> Result<TablePointer, MetaError> {
        match self.pointer(namespace, name).await? {
            Some(pointer) if pointer.kind == kind => Ok(pointer),
            _ => Err(self.not_found(kind, namespace, name).await?),
        }
    }

    async fn not_found(
        &mut self,
        kind: RelationKind,
        namespace: &str,
        name: &str,
    ) -> Result<MetaError, MetaError> {
        let rows = self.tx.rows(SELECT_POINTERS, &[self.catalog.into(), namespace.into()]).await?;
        let known = sorted_pointers(&rows, kind)?;
        let similar = nearest(name, known.iter().map(|pointer| pointer.name.as_str()))
            .map(|near| full_name(namespace, near));
        let wanted = full_name(namespace, name);
        Ok(match kind {
            RelationKind::Table => MetaError::TableNotFound { table: wanted, similar },
            RelationKind::View => MetaError::ViewNotFound { view: wanted, similar },
        })
    }

    async fn swap(&mut self, swap: &PointerSwap) -> Result<(), MetaError> {
        // The condition stands in the statement itself: writers of other programs do not take our lock.
        let touched = self
            .tx
            .execute(
                "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 \
                 WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2",
                &[
                    swap.new_location.as_str().into(),
                    swap.expected_location.as_str().into(),
                    self.catalog.into(),
                    swap.namespace.as_str().into(),
                    swap.name.as_str().into(),
                ],
            )
            .await?;
        if touched == 1 {
            return Ok(());
        }
        match self.pointer(&swap.namespace, &swap.name).await? {
            Some(pointer) => Err(MetaError::PointerConflict {
                table: full_name(&swap.namespace, &swap.name),
                expected: swap.expected_location.clone(),
                found: pointer.metadata_location,
            }),
            None => Err(self.not_found(RelationKind::Table, &swap.namespace, &swap.name).await?),
        }
    }

    async fn insert(&mut self, insert: &PointerInsert) -> Result<(), MetaError> {
        self.require_namespace(&insert.namespace).await?;
        let touched = self
            .tx
            .execute(
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, \
                 previous_metadata_location, iceberg_type) VALUES ($1, $2, $3, $4, NULL, $5) \
                 ON CONFLICT (catalog_name, table_namespace, table_name) DO NOTHING",
                &[
                    self.catalog.into(),
                    insert.namespace.as_str().into(),
                    insert.name.as_str().into(),
                    insert.metadata_location.as_str().into(),
                    match insert.kind {
                        RelationKind::Table => "TABLE".into(),
                        RelationKind::View => VIEW.into(),
                    },
                ],
            )
            .await?;
        if touched == 1 {
            return Ok(());
        }
        Err(MetaError::TableExists { table: full_name(&insert.namespace, &insert.name) })
    }
}

impl SqlStore {
    async fn catalog_tx<'a>(&self, ctx: &'a RequestContext) -> Result<CatalogTx<'a>, MetaError> {
        Ok(CatalogTx { tx: self.write(ctx).await?, catalog: ctx.tenant.as_str(), ctx })
    }
}

fn catalog_and(ctx: &RequestContext, namespace: &str) -> [Param; 2] {
    [ctx.tenant.as_str().into(), namespace.into()]
}

#[async_trait]
impl CatalogStore for SqlStore {
    async fn create_namespace(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        properties: &Properties,
    ) -> Result<(), MetaError> {
        let mut tx = self.catalog_tx(ctx).await?;
        if tx.namespaces().await?.iter().any(|name| name == namespace) {
            return Err(MetaError::NamespaceExists { namespace: namespace.into() });
        }
        tx.set_property(namespace, EXISTS, "true").await?;
        for (key, value) in properties.iter().filter(|(key, _)| *key != EXISTS) {
            tx.set_property(namespace, key, value).await?;
        }
        tx.commit().await
    }

    async fn namespace(
        &self,
        ctx: &RequestContext,
        namespace: &str,
    ) -> Result<Option<Properties>, MetaError> {
        let mut tx = self.read(ctx).await?;
        let rows = tx.rows(NAMESPACE_PROPERTIES, &catalog_and(ctx, namespace)).await?;
        if rows.is_empty() {
            // Other catalogs may have made a table without a property of its namespace.
            let tables = tx.row(COUNT_TABLES, &catalog_and(ctx, namespace)).await?;
            let tables = tables.map_or(Ok(0), |row| row.int(0))?;
            return Ok((tables > 0).then(Properties::new));
        }
        let mut properties = Properties::new();
        for row in &rows {
            properties.insert(row.text(0)?, row.opt_text(1)?.unwrap_or_default());
        }
        properties.remove(EXISTS);
        Ok(Some(properties))
    }

    async fn namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, MetaError> {
        let rows = self.rows(ctx, NAMESPACE_NAMES, &[ctx.tenant.as_str().into()]).await?;
        let mut names = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
        names.sort();
        Ok(names)
    }

    async fn update_namespace(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        updates: &Properties,
        removals: &[String],
    ) -> Result<PropertiesUpdate, MetaError> {
        let mut tx = self.catalog_tx(ctx).await?;
        tx.require_namespace(namespace).await?;
        let before = tx.properties(namespace).await?;
        if !before.contains_key(EXISTS) {
            tx.set_property(namespace, EXISTS, "true").await?;
        }
        let mut update = PropertiesUpdate::default();
        for key in removals {
            let removed = key != EXISTS && tx.remove_property(namespace, key).await?;
            if removed { &mut update.removed } else { &mut update.missing }.push(key.clone());
        }
        for (key, value) in updates.iter().filter(|(key, _)| *key != EXISTS) {
            tx.set_property(namespace, key, value).await?;
            update.updated.push(key.clone());
        }
        tx.commit().await?;
        Ok(update)
    }

    async fn drop_namespace(&self, ctx: &RequestContext, namespace: &str) -> Result<(), MetaError> {
        let mut tx = self.catalog_tx(ctx).await?;
        tx.require_namespace(namespace).await?;
        let tables =
            tx.tx.row(COUNT_TABLES, &catalog_and(ctx, namespace)).await?.map_or(Ok(0), |row| row.int(0))?;
        if tables > 0 {
            return Err(MetaError::NamespaceNotEmpty { namespace: namespace.into(), tables });
        }
        tx.tx
            .execute(
                "DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2",
                &catalog_and(ctx, namespace),
            )
            .await?;
        tx.commit().await
    }

    async fn table_pointers(
        &self,
        ctx: &RequestContext,
        namespace: &str,
    ) -> Result<Vec<TablePointer>, MetaError> {
        let rows = self.rows(ctx, SELECT_POINTERS, &catalog_and(ctx, namespace)).await?;
        sorted_pointers(&rows, RelationKind::Table)
    }

    async fn view_pointers(
        &self,
        ctx: &RequestContext,
        namespace: &str,
    ) -> Result<Vec<TablePointer>, MetaError> {
        let rows = self.rows(ctx, SELECT_POINTERS, &catalog_and(ctx, namespace)).await?;
        sorted_pointers(&rows, RelationKind::View)
    }

    async fn all_table_pointers(&self, ctx: &RequestContext) -> Result<Vec<TablePointer>, MetaError> {
        let rows = self.rows(ctx, SELECT_ALL_POINTERS, &[ctx.tenant.as_str().into()]).await?;
        sorted_pointers(&rows, RelationKind::Table)
    }

    async fn table_pointer(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        name: &str,
    ) -> Result<Option<TablePointer>, MetaError> {
        let found = self.relation_pointer(ctx, namespace, name).await?;
        Ok(found.filter(|pointer| pointer.kind == RelationKind::Table))
    }

    async fn relation_pointer(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        name: &str,
    ) -> Result<Option<TablePointer>, MetaError> {
        let params = [ctx.tenant.as_str().into(), namespace.into(), name.into()];
        let row = self.row(ctx, SELECT_POINTER, &params).await?;
        row.as_ref().map(pointer_of).transpose()
    }

    async fn swap_pointers(
        &self,
        ctx: &RequestContext,
        swaps: &[PointerSwap],
        inserts: &[PointerInsert],
    ) -> Result<(), MetaError> {
        let mut tx = self.catalog_tx(ctx).await?;
        for swap in swaps {
            tx.swap(swap).await?;
        }
        for insert in inserts {
            tx.insert(insert).await?;
        }
        tx.commit().await
    }

    async fn delete_pointer(
        &self,
        ctx: &RequestContext,
        kind: RelationKind,
        namespace: &str,
        name: &str,
    ) -> Result<TablePointer, MetaError> {
        let mut tx = self.catalog_tx(ctx).await?;
        let pointer = tx.pointer_to(kind, namespace, name).await?;
        tx.tx
            .execute(
                "DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3",
                &[ctx.tenant.as_str().into(), namespace.into(), name.into()],
            )
            .await?;
        tx.commit().await?;
        Ok(pointer)
    }

    async fn delete_pointer_at(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        name: &str,
        location: &str,
    ) -> Result<bool, MetaError> {
        let mut tx = self.catalog_tx(ctx).await?;
        let removed = tx
            .tx
            .execute(
                "DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 \
                 AND metadata_location = $4",
                &[ctx.tenant.as_str().into(), namespace.into(), name.into(), location.into()],
            )
            .await?;
        tx.commit().await?;
        Ok(removed == 1)
    }

    async fn rename_pointer(
        &self,
        ctx: &RequestContext,
        kind: RelationKind,
        from: (&str, &str),
        to: (&str, &str),
    ) -> Result<(), MetaError> {
        let mut tx = self.catalog_tx(ctx).await?;
        tx.pointer_to(kind, from.0, from.1).await?;
        tx.require_namespace(to.0).await?;
        if tx.pointer(to.0, to.1).await?.is_some() {
            return Err(MetaError::TableExists { table: full_name(to.0, to.1) });
        }
        tx.tx
            .execute(
                "UPDATE iceberg_tables SET table_namespace = $1, table_name = $2 \
                 WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5",
                &[to.0.into(), to.1.into(), ctx.tenant.as_str().into(), from.0.into(), from.1.into()],
            )
            .await?;
        tx.commit().await
    }
}
