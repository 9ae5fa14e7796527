//! The messages of PostgreSQL's `pgoutput` plugin, protocol version 1.

use super::wire::{Fields, Malformed};

/// A column in a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Part of the replica identity.
    pub is_key: bool,
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_oid: u32,
    /// The type's modifier, -1 without.
    pub modifier: i32,
}

/// A table as it was when the rows after this message were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its number.
    pub oid: u32,
    /// Schema.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Replica identity: `d`, `i`, `f` or `n`.
    pub identity: u8,
    /// Columns in order, without generated ones.
    pub columns: Vec<RelationColumn>,
}

/// The old row of an update or delete.
#[derive(Clone, Copy, Debug)]
pub enum OldRow<'a> {
    /// Only the key columns are set.
    Key(Tuple<'a>),
    /// The whole row.
    Full(Tuple<'a>),
}

impl<'a> OldRow<'a> {
    /// Its cells.
    pub fn tuple(self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => tuple,
        }
    }
}

/// A message.
#[derive(Debug)]
pub enum Message<'a> {
    /// A transaction starts.
    Begin {
        /// Position of its commit record.
        commit_lsn: u64,
        /// When it was committed, microseconds since 2000.
        committed_us: i64,
        /// Its number.
        xid: u32,
    },
    /// A transaction ends.
    Commit {
        /// Position after its commit record.
        end_lsn: u64,
    },
    /// Describes a table.
    Relation(Relation),
    /// A new row.
    Insert {
        /// The table.
        oid: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A changed row.
    Update {
        /// The table.
        oid: u32,
        /// The old row, if the key changed or the whole row is the identity.
        old: Option<OldRow<'a>>,
        /// The new row.
        new: Tuple<'a>,
    },
    /// A removed row.
    Delete {
        /// The table.
        oid: u32,
        /// The old row.
        old: OldRow<'a>,
    },
    /// Tables were emptied.
    Truncate {
        /// The tables.
        oids: Vec<u32>,
    },
    /// Types, origins and messages of applications: nothing to do.
    Other,
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// A large value that was not changed and was not sent.
    Unchanged,
    /// The text form.
    Text(&'a [u8]),
}

/// The values of a row, checked for their lengths.
#[derive(Clone, Copy, Debug)]
pub struct Tuple<'a> {
    count: usize,
    cells: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// Takes a row from the front of `fields`.
    fn take(fields: &mut Fields<'a>) -> Result<Self, Malformed> {
        let count = fields.count()?;
        let start = fields.rest();
        for _ in 0..count {
            read_cell(fields)?;
        }
        let length = start.len() - fields.rest().len();
        Ok(Self { count, cells: &start[..length] })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes of the values as sent.
    pub fn bytes(&self) -> usize {
        self.cells.len()
    }

    /// The values in column order.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let mut fields = Fields::new(self.cells);
        // The lengths were checked when the row was taken.
        (0..self.count).map_while(move |_| read_cell(&mut fields).ok())
    }
}

#[inline]
fn read_cell<'a>(fields: &mut Fields<'a>) -> Result<Cell<'a>, Malformed> {
    match fields.u8()? {
        b'n' => Ok(Cell::Null),
        b'u' => Ok(Cell::Unchanged),
        b't' => {
            let length = usize::try_from(fields.i32()?).map_err(|_| Malformed("holds a negative length"))?;
            fields.bytes(length).map(Cell::Text)
        }
        _ => Err(Malformed("holds a value in an unknown form")),
    }
}

/// Reads a message.
pub fn parse(body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut fields = Fields::new(body);
    match fields.u8()? {
        b'B' => {
            Ok(Message::Begin { commit_lsn: fields.u64()?, committed_us: fields.i64()?, xid: fields.u32()? })
        }
        b'C' => {
            fields.u8()?;
            fields.u64()?;
            Ok(Message::Commit { end_lsn: fields.u64()? })
        }
        b'R' => parse_relation(fields).map(Message::Relation),
        b'I' => {
            let oid = fields.u32()?;
            expect(fields.u8()?, b'N')?;
            Ok(Message::Insert { oid, new: Tuple::take(&mut fields)? })
        }
        b'U' => parse_update(fields),
        b'D' => {
            let oid = fields.u32()?;
            let tag = fields.u8()?;
            Ok(Message::Delete { oid, old: old_row(tag, &mut fields)? })
        }
        b'T' => {
            let count = usize::try_from(fields.i32()?).map_err(|_| Malformed("counts less than nothing"))?;
            fields.u8()?;
            let oids = (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()?;
            Ok(Message::Truncate { oids })
        }
        b'Y' | b'O' | b'M' => Ok(Message::Other),
        _ => Err(Malformed("is of an unknown kind")),
    }
}

fn expect(found: u8, wanted: u8) -> Result<(), Malformed> {
    if found == wanted { Ok(()) } else { Err(Malformed("lacks the new row")) }
}

fn old_row<'a>(tag: u8, fields: &mut Fields<'a>) -> Result<OldRow<'a>, Malformed> {
    match tag {
        b'K' => Tuple::take(fields).map(OldRow::Key),
        b'O' => Tuple::take(fields).map(OldRow::Full),
        _ => Err(Malformed("holds an old row of an unknown kind")),
    }
}

fn parse_update(mut fields: Fields<'_>) -> Result<Message<'_>, Malformed> {
    let oid = fields.u32()?;
    let old = match fields.u8()? {
        b'N' => None,
        tag => {
            let old = old_row(tag, &mut fields)?;
            expect(fields.u8()?, b'N')?;
            Some(old)
        }
    };
    Ok(Message::Update { oid, old, new: Tuple::take(&mut fields)? })
}

fn parse_relation(mut fields: Fields<'_>) -> Result<Relation, Malformed> {
    let oid = fields.u32()?;
    // An empty namespace stands for pg_catalog.
    let namespace = match fields.text()? {
        empty if empty.is_empty() => "pg_catalog".to_string(),
        name => name.into_owned(),
    };
    let name = fields.text()?.into_owned();
    let identity = fields.u8()?;
    let count = fields.count()?;
    let columns = (0..count).map(|_| {
        Ok(RelationColumn {
            is_key: fields.u8()? & 1 == 1,
            name: fields.text()?.into_owned(),
            type_oid: fields.u32()?,
            modifier: fields.i32()?,
        })
    });
    Ok(Relation { oid, namespace, name, identity, columns: columns.collect::<Result<_, Malformed>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_testkit::{for_each_seed, random_bytes};

    #[test]
    fn an_update_carries_its_old_key() {
        let mut body = vec![b'U'];
        body.extend(7_u32.to_be_bytes());
        body.extend(b"K\0\x02t\0\0\0\x011n");
        body.extend(b"N\0\x02t\0\0\0\x012u");
        match parse(&body).expect("whole") {
            Message::Update { oid: 7, old: Some(OldRow::Key(old)), new } => {
                assert_eq!(old.cells().collect::<Vec<_>>(), [Cell::Text(b"1"), Cell::Null]);
                assert_eq!(new.cells().collect::<Vec<_>>(), [Cell::Text(b"2"), Cell::Unchanged]);
            }
            other => panic!("{other:?}"),
        }
        body.pop();
        assert!(parse(&body).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        for_each_seed(5_000, |random| {
            let mut body = random_bytes(random, 80);
            let tags = b"BCRIUDTYOM";
            body.insert(0, tags[body.len() % tags.len()]);
            if let Ok(Message::Insert { new, .. }) = parse(&body) {
                assert_eq!(new.cells().count(), new.len());
            }
        });
    }
}
