//! Which source writes which table of the lakehouse: each table has one.

use std::collections::HashMap;

use parking_lot::Mutex;
use tarn_core::{ResourceName, TableName, TenantId};

#[derive(Debug, Default)]
pub(crate) struct Claims {
    owners: Mutex<HashMap<(TenantId, TableName), ResourceName>>,
}

impl Claims {
    /// Takes a table. Errors: the source that has it.
    pub(crate) fn claim(
        &self,
        tenant: &TenantId,
        table: &TableName,
        source: &ResourceName,
    ) -> Result<(), ResourceName> {
        let mut owners = self.owners.lock();
        let owner = owners.entry((tenant.clone(), table.clone())).or_insert_with(|| source.clone());
        if owner == source { Ok(()) } else { Err(owner.clone()) }
    }

    /// Gives back all tables of a source.
    pub(crate) fn release(&self, tenant: &TenantId, source: &ResourceName) {
        self.owners.lock().retain(|(of, _), owner| of != tenant || owner != source);
    }
}
