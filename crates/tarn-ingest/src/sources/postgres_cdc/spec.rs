//! The entry of `postgres_cdc` in the family of sources.

use tarn_component::{ComponentSpec, Example, Stability, schema_of};

use super::build;
use super::config::PostgresCdcConfig;
use crate::source::SourceSpec;

/// PostgreSQL by logical replication.
pub static SPEC: SourceSpec = SourceSpec {
    component: ComponentSpec {
        name: "postgres_cdc",
        title: "PostgreSQL (change data capture)",
        title_zh: "PostgreSQL（变更数据捕获）",
        summary: "Reads tables of a PostgreSQL database, 12 or later: existing rows in parallel, then every committed \
                  change within milliseconds, with nothing lost or doubled.",
        summary_zh: "读取 PostgreSQL 12 及以上版本的表：先并行读取已有数据，再以毫秒级延迟读取每次提交的变更，不丢不重。",
        category: "database",
        stability: Stability::Beta,
        config: schema_of::<PostgresCdcConfig>,
        examples: &[
            Example {
                title: "All tables of a database",
                config: "url: postgres://tarn@127.0.0.1:5432/shop\npassword: { secret: shop_password }\n",
            },
            Example {
                title: "Some tables, over a verified connection",
                config: "url: postgres://tarn@db.example:5432/shop\n\
                         password: { secret: shop_password }\ntables: [public.orders, public.customer_*]\n\
                         tls: verify-full\nca: certificates/shop.pem\n",
            },
        ],
        docs: DOCS,
    },
    build,
};

const DOCS: &str = "
## Setting up the server

1. `ALTER SYSTEM SET wal_level = logical;` and restart PostgreSQL.
2. `CREATE ROLE tarn LOGIN REPLICATION PASSWORD '…';`, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO tarn;`
3. Publishing a table needs its owner. Either `GRANT` the owner's role to `tarn` and `GRANT CREATE ON DATABASE shop TO
   tarn`, or let the owner run `CREATE PUBLICATION tarn_<source> FOR TABLE …`.

`tarn ingest check NAME` looks at each of these and says what is missing.

## What it makes on the server

A replication slot and two publications, named `tarn_<source>`; the second publication (`…_inserts`) holds tables
without a replica identity, of which only inserts are read, because PostgreSQL would refuse the application's updates
otherwise. While the slot exists the server keeps its log until it was read: a source that is stopped for long fills the
server's disk. Deleting the source removes all of them; a publication that someone else made stays.

## Rows

Each table becomes a topic. Existing rows are read as of one point of the server's log, and all later changes follow. A
read that is interrupted before all existing rows of a table were read starts that table again, after a truncate row.
An update whose old row PostgreSQL logs (the key changed, or `REPLICA IDENTITY FULL`) gives an update-before and an
update-after row, any other update only an update-after row. Large values that an update did not touch are not sent by
PostgreSQL: the column is null and named in `_unchanged`; with `REPLICA IDENTITY FULL` it is filled in. Generated columns
are left out. New tables that match `tables` are found within 15 seconds. A renamed column is recognised.

## Types

| PostgreSQL | Arrow | note |
|---|---|---|
| `smallint`, `integer` | `Int32` | |
| `bigint` | `Int64` | |
| `real`, `double precision` | `Float32`, `Float64` | NaN and infinity are kept |
| `numeric(p, s)`, p up to 38, s from 0 to p | `Decimal128(p, s)` | NaN and infinity: null and a dead letter |
| other `numeric` | `Utf8` | every digit is kept |
| `boolean` | `Boolean` | |
| `text`, `varchar`, `char`, `name`, `citext`, enums | `Utf8` | `char(n)` keeps its padding |
| `bytea` | `Binary` | |
| `date` | `Date32` | `infinity` is 9999-12-31, `-infinity` is 0001-01-01 |
| `time` | `Time64(us)` | `24:00:00`: null and a dead letter |
| `timestamp`, `timestamptz` | `Timestamp(us)`, without and with UTC | infinity as for `date` (the last is 23:59:59.999999); after the year 294246: null and a dead letter |
| `uuid` | `FixedSizeBinary(16)`, extension `arrow.uuid` | |
| `json`, `jsonb` | `Utf8` | |
| `interval` | `Utf8` | ISO 8601, such as `P1Y2M3DT4H` |
| arrays of these | `List` | a value with more dimensions: null and a dead letter |
| arrays declared with several dimensions | `Utf8` | such as `{{1,2},{3,4}}` |
| domains | as their base type | |
| all others (`timetz`, `inet`, ranges, geometric, `hstore`, composite, `xml`, …) | `Utf8` | the text that PostgreSQL prints |
";
