"""What clients and ORMs ask for beside plain statements: RETURNING, EXPLAIN of changes, upkeep, comments, keys in the catalogs."""

import gzip
import json
import subprocess
from pathlib import Path

import psycopg
import pyarrow.parquet
import pytest
import sqlalchemy as sa
from rig.postgres import PROGRAMS, Postgres
from rig.readers import open_pyiceberg
from rig.tarn import ApiError, Tarn
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


def connect(tarn: Tarn, **options) -> psycopg.Connection:
    options = {"autocommit": True} | options
    return psycopg.connect(
        host="127.0.0.1", port=tarn.pgwire_port, user="tarn", dbname="tarn", connect_timeout=20, **options)


RETURNING = [
    "INSERT INTO item VALUES (1, 'a', 1.005), (2, 'b', NULL) RETURNING *",
    "INSERT INTO item (id, name) VALUES (3, 'c') RETURNING id, upper(name) AS up, price",
    "INSERT INTO item AS i VALUES (4, 'd', 7) RETURNING i.*, i.id + 1 AS next",
    "INSERT INTO item VALUES (4, 'x', 1), (5, 'e', 2) ON CONFLICT DO NOTHING RETURNING id, name",
    "INSERT INTO item AS i VALUES (4, 'x', 1), (6, 'f', 2) ON CONFLICT (id) DO UPDATE SET name = i.name || excluded.name "
    "WHERE i.price > 3 RETURNING id, name, price",
    "UPDATE item SET price = '2.5' WHERE id < 3 RETURNING id, price, (SELECT count(*) FROM item) AS n",
    "UPDATE item AS t SET name = s.name || '!' FROM (VALUES (1, 'one'), (5, 'five')) AS s (id, name) WHERE s.id = t.id "
    "RETURNING t.id, t.name, s.name AS said, length(s.name || t.name) AS size",
    "UPDATE item SET price = price WHERE id = 99 RETURNING *",
    "WITH gone AS (SELECT 3 AS id UNION ALL SELECT 5) DELETE FROM item USING gone WHERE gone.id = item.id "
    "RETURNING item.id, name, gone.id * 10 AS tenfold",
    "WITH more AS (SELECT 6 AS id, 'six' AS name) UPDATE item SET name = more.name FROM more WHERE more.id = item.id "
    "RETURNING item.*",
    "WITH fresh AS (SELECT 8 AS id) INSERT INTO item (id, name) SELECT id, 'eight' FROM fresh RETURNING id",
    "DELETE FROM item WHERE id IN (1, 2) RETURNING *",
]


def test_returning_gives_what_postgresql_gives(tarn: Tarn, postgres: Postgres, database: str):
    with connect(tarn) as ours, postgres.connect(database) as theirs:
        for connection in (ours, theirs):
            connection.execute("CREATE SCHEMA shop")
            connection.execute("SET search_path TO shop")
            connection.execute("CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL, price numeric(6, 2))")
        otherwise = []
        for statement in RETURNING:
            answers = []
            for connection in (ours, theirs):
                cursor = connection.execute(statement)
                names = [column.name for column in cursor.description]
                answers.append((names, sorted(cursor.fetchall()), cursor.statusmessage))
            if answers[0] != answers[1]:
                otherwise.append((statement, *answers))
        assert not otherwise, "\n".join(map(str, otherwise))
        select = "SELECT * FROM item ORDER BY id"
        assert ours.execute(select).fetchall() == theirs.execute(select).fetchall()
        # An error in it leaves the table as it was.
        before = ours.execute(select).fetchall()
        for wrong in ["DELETE FROM item RETURNING 1 / (id - id)", "UPDATE item SET price = 1 RETURNING nope",
                      "DELETE FROM item USING (SELECT 1 AS x) s RETURNING *"]:
            with pytest.raises(psycopg.Error):
                ours.execute(wrong)
        assert ours.execute(select).fetchall() == before
        # With parameters, in binary, and as the rows of a COPY.
        row = ours.execute("INSERT INTO item VALUES (%s, %s, %s) RETURNING id, name || %s", [20, "p", 1, "?"], binary=True).fetchone()
        assert row == (20, "p?")
        with ours.cursor() as cursor, cursor.copy("COPY (DELETE FROM item WHERE id = 20 RETURNING id) TO STDOUT") as copy:
            assert b"".join(map(bytes, copy)) == b"20\n"


def test_merge_returns_rows_and_may_do_nothing(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("SET search_path TO shop")
        run("CREATE TABLE item (id bigint PRIMARY KEY, name text)")
        run("INSERT INTO item VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        cursor = run("""
            WITH s AS (SELECT * FROM (VALUES (1, 'x'), (2, 'y'), (4, 'z'), (5, 'no')) v (id, name))
            MERGE INTO item t USING s ON s.id = t.id
            WHEN MATCHED AND t.id = 1 THEN DO NOTHING
            WHEN MATCHED THEN UPDATE SET name = s.name
            WHEN NOT MATCHED AND s.name = 'no' THEN DO NOTHING
            WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name)
            RETURNING merge_action(), t.*, s.name AS said""")
        assert [column.name for column in cursor.description] == ["merge_action", "id", "name", "said"]
        assert sorted(cursor.fetchall()) == [("INSERT", 4, "z", "z"), ("UPDATE", 2, "y", "y")]
        assert cursor.statusmessage == "MERGE 2"
        gone = run("MERGE INTO item t USING (SELECT 3 AS id) s ON s.id = t.id WHEN MATCHED THEN DELETE RETURNING merge_action(), t.id, name")
        assert gone.fetchall() == [("DELETE", 3, "c")]
        assert run("SELECT * FROM item ORDER BY id").fetchall() == [(1, "a"), (2, "y"), (4, "z")]
        # The other protocols give the same rows.
        answer = tarn.query("UPDATE shop.item SET name = upper(name) WHERE id = 2 RETURNING id, name")
        assert ([column["name"] for column in answer["columns"]], answer["rows"]) == (["id", "name"], [[2, "Y"]])
    import adbc_driver_flightsql.dbapi as flight

    with flight.connect(tarn.flight, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop.item WHERE id = 4 RETURNING name")
        assert cursor.fetchall() == [("z",)]
    assert tarn.rows("SELECT id FROM shop.item ORDER BY 1") == [[1], [2]]


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    __table_args__ = {"schema": "shop"}
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.Text)
    qty: Mapped[int | None] = mapped_column(sa.Integer)
    price: Mapped[float | None] = mapped_column(sa.Numeric(10, 2))


def alchemy(tarn: Tarn) -> sa.Engine:
    return sa.create_engine(f"postgresql+psycopg://tarn@127.0.0.1:{tarn.pgwire_port}/tarn", isolation_level="AUTOCOMMIT")


def test_sqlalchemy_writes(tarn: Tarn):
    engine = alchemy(tarn)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA shop")
    Base.metadata.create_all(engine, checkfirst=False)
    with engine.connect() as connection:
        returned = connection.execute(
            sa.insert(Item).returning(Item.id, Item.name), [{"id": n, "name": f"n{n}", "qty": n} for n in range(3)])
        assert sorted(returned.all()) == [(0, "n0"), (1, "n1"), (2, "n2")]
        changed = connection.execute(sa.update(Item).where(Item.id > 0).values(qty=Item.qty + 10).returning(Item.id, Item.qty))
        assert sorted(changed.all()) == [(1, 11), (2, 12)]
        gone = connection.execute(sa.delete(Item).where(Item.id == 0).returning(sa.func.lower(Item.name)))
        assert gone.all() == [("n0",)]
    with Session(engine) as session:
        session.add_all([Item(id=10, name="ten"), Item(id=11, name="eleven", price=1.5)])
        session.flush()
        session.get(Item, 10).name = "TEN"
        session.delete(session.get(Item, 11))
        session.commit()
        assert session.scalars(sa.select(Item.name).order_by(Item.id)).all() == ["n1", "n2", "TEN"]
    engine.dispose()


def test_sqlalchemy_inspects(tarn: Tarn):
    engine = alchemy(tarn)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA shop")
    Base.metadata.create_all(engine, checkfirst=False)
    with engine.connect() as connection:
        connection.exec_driver_sql("COMMENT ON TABLE shop.item IS 'What we sell'")
        connection.exec_driver_sql("COMMENT ON COLUMN shop.item.qty IS 'Pieces'")
        connection.exec_driver_sql("CREATE TABLE shop.pair (b int, a text, note text, PRIMARY KEY (b, a))")
        connection.exec_driver_sql("CREATE TABLE shop.log (n int)")
    inspector = sa.inspect(engine)
    assert "shop" in inspector.get_schema_names()
    assert sorted(inspector.get_table_names("shop")) == ["item", "log", "pair"]
    key = inspector.get_pk_constraint("item", "shop")
    assert (key["constrained_columns"], key["name"]) == (["id"], "item_pkey")
    assert inspector.get_pk_constraint("pair", "shop")["constrained_columns"] == ["b", "a"]
    assert inspector.get_pk_constraint("log", "shop")["constrained_columns"] == []
    columns = {column["name"]: column for column in inspector.get_columns("item", "shop")}
    assert list(columns) == ["id", "name", "qty", "price"]
    assert isinstance(columns["id"]["type"], sa.BIGINT) and not columns["id"]["nullable"]
    assert (columns["price"]["type"].precision, columns["price"]["type"].scale) == (10, 2)
    assert (columns["qty"]["comment"], columns["qty"]["nullable"], columns["name"]["nullable"]) == ("Pieces", True, False)
    assert inspector.get_table_comment("item", "shop") == {"text": "What we sell"}
    assert inspector.get_foreign_keys("item", "shop") == []
    assert inspector.get_unique_constraints("item", "shop") == []
    assert inspector.get_check_constraints("item", "shop") == []
    reflected = sa.Table("item", sa.MetaData(), schema="shop", autoload_with=engine)
    assert [column.name for column in reflected.primary_key] == ["id"]
    engine.dispose()
    # Other engines read the comments too.
    table = open_pyiceberg(tarn).load_table("shop.item")
    assert table.properties["comment"] == "What we sell"
    assert table.schema().find_field("qty").doc == "Pieces"


def test_keys_and_columns_in_the_information_schema_and_in_psql(tarn: Tarn, postgres: Postgres, database: str):
    with connect(tarn) as ours, postgres.connect(database) as theirs:
        for connection in (ours, theirs):
            connection.execute("CREATE SCHEMA shop")
            connection.execute(
                "CREATE TABLE shop.item (b int, a text, n numeric(9, 3), r real, at timestamptz NOT NULL, day date, "
                "PRIMARY KEY (b, a))")
        for what in [
            "table_catalog IS NOT NULL, table_name, column_name, ordinal_position, is_nullable, data_type, numeric_precision, "
            "numeric_precision_radix, numeric_scale, datetime_precision, udt_name, is_updatable, column_default "
            "FROM information_schema.columns WHERE table_schema = 'shop'",
            "table_name, table_type, is_insertable_into FROM information_schema.tables WHERE table_schema = 'shop'",
            "constraint_name, table_name, constraint_type, is_deferrable FROM information_schema.table_constraints "
            "WHERE table_schema = 'shop' AND constraint_type = 'PRIMARY KEY'",
            "constraint_name, column_name, ordinal_position FROM information_schema.key_column_usage WHERE table_schema = 'shop'",
            "schema_name FROM information_schema.schemata WHERE schema_name = 'shop'",
        ]:
            answers = [sorted(one.execute(f"SELECT {what}").fetchall(), key=repr) for one in (ours, theirs)]
            assert answers[0] == answers[1], what
    shown = subprocess.run(
        [PROGRAMS / "psql", "-h", "127.0.0.1", "-p", str(tarn.pgwire_port), "-U", "tarn", "-d", "tarn", "-X", "-c", r"\d shop.item"],
        capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert '"item_pkey" PRIMARY KEY, btree (b, a)' in shown.stdout, shown.stdout


def test_explain_shows_a_change_and_with_analyze_makes_it(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("SET search_path TO shop")
        run("CREATE TABLE item (id bigint PRIMARY KEY, name text) PARTITIONED BY (bucket(2, id))")
        run("INSERT INTO item SELECT n, 'row' FROM generate_series(1, 100) g (n)")
        explained = dict(run("EXPLAIN UPDATE item SET name = 'x' WHERE id = 7").fetchall())
        assert set(explained) == {"change", "logical_plan", "physical_plan"}
        for part in ["UPDATE shop.item", "Key: (id)", "bucket[2](id)", "of 2"]:
            assert part in explained["change"], explained["change"]
        for statement in ["EXPLAIN DELETE FROM item", "EXPLAIN INSERT INTO item VALUES (200, 'x')",
                          "EXPLAIN WITH s AS (SELECT 1 AS id) MERGE INTO item t USING s ON s.id = t.id WHEN MATCHED THEN DELETE"]:
            assert run(statement).fetchall()
        assert run("SELECT count(*), count(DISTINCT name) FROM item").fetchone() == (100, 1)
        made = dict(run("EXPLAIN ANALYZE DELETE FROM item WHERE id <= 10").fetchall())
        assert "Rows changed: 10" in made["change"] and "metrics" in made["Plan with Metrics"], made
        assert run("SELECT count(*) FROM item").fetchone() == (90,)
        with connection.transaction(force_rollback=True):
            run("EXPLAIN ANALYZE DELETE FROM item")
            assert run("SELECT count(*) FROM item").fetchone() == (0,)
        assert run("SELECT count(*) FROM item").fetchone() == (90,)
        assert run("EXPLAIN DELETE FROM item WHERE id = %s", [1]).fetchall()


def test_upkeep_history_and_the_statement_of_a_table(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("SET search_path TO shop")
        run("CREATE TABLE item (id bigint PRIMARY KEY, \"Name\" text NOT NULL, at timestamptz, n numeric(9, 2), u uuid, tags text[], "
            "day date) PARTITIONED BY (month(at), bucket(3, id), day) WITH ('write.target-file-size-bytes' = '1000000')")
        run("COMMENT ON TABLE item IS 'it''s'")
        run("COMMENT ON COLUMN item.\"Name\" IS 'What it is called'")
        for n in range(4):
            run(f"INSERT INTO item (id, \"Name\") VALUES ({n}, 'x')")
        history = run("DESCRIBE HISTORY item").fetchall()
        assert [row[3] for row in history] == ["append"] * 4
        assert history == sorted(history, key=lambda row: row[0], reverse=True)
        files = "SELECT count(*) FROM shop.item.data_files"
        assert run(files).fetchone() == (4,)
        assert run("VACUUM FULL item").statusmessage == "VACUUM"
        assert run(files).fetchone()[0] < 4
        assert run("VACUUM (ANALYZE) shop.item").statusmessage == "VACUUM"
        assert run("VACUUM").statusmessage == "VACUUM"
        assert run("ANALYZE VERBOSE item").statusmessage == "ANALYZE"
        for wrong in ["VACUUM nope", "ANALYZE nope", "SHOW CREATE TABLE nope", "DESCRIBE HISTORY nope"]:
            with pytest.raises(psycopg.Error) as raised:
                run(wrong)
            assert raised.value.sqlstate == "42P01", wrong
        assert run("SELECT count(*) FROM item").fetchone() == (4,)
        ((name, statement),) = run("SHOW CREATE TABLE item").fetchall()
        assert name == "shop.item"
        copy = statement.replace('"item"', '"copy"')
        assert copy != statement
        run(copy.split(";\n")[0])
        for comment in copy.split(";\n")[1:]:
            run(comment)
        again = run("SHOW CREATE TABLE copy").fetchone()[1]
        assert again.replace('"copy"', '"item"') == statement
        assert [row[0] for row in run("DESCRIBE item").fetchall()] == ["id", "Name", "at", "n", "u", "tags", "day"]
        assert ("tarn", "shop", "item") in [row[:3] for row in run("SHOW TABLES").fetchall()]
        assert len(run("SHOW COLUMNS FROM item").fetchall()) == 7
        run("COMMENT ON TABLE item IS NULL")
        run("COMMENT ON COLUMN item.\"Name\" IS NULL")
        assert "COMMENT" not in run("SHOW CREATE TABLE item").fetchone()[1]


def test_rows_are_exported_only_into_folders_that_the_configuration_names(make_tarn, folder: Path):
    closed = make_tarn("closed").start()
    with pytest.raises(ApiError) as raised:
        closed.query("COPY (SELECT 1 AS a) TO 'a.parquet'")
    assert raised.value.status == 403 and "query.exports" in raised.value.error["hint"], raised.value
    closed.stop()
    tarn = make_tarn("open")
    (tarn.project / "tarn.toml").write_text('[[query.exports]]\nurl = "exports"\n')
    tarn.start()
    exports = tarn.project / "exports"
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("CREATE TABLE shop.item (id bigint PRIMARY KEY, name text, price numeric(8, 2), at timestamptz)")
        run("INSERT INTO shop.item SELECT n, 'row ' || n, n / 2, '2026-01-01' FROM generate_series(1, 1000) g (n)")
        assert run("COPY shop.item TO 'all.parquet'").statusmessage == "COPY 1000"
        assert run("COPY (SELECT id, name FROM shop.item WHERE id <= 3 ORDER BY id) TO 'few.csv'").statusmessage == "COPY 3"
        run(f"COPY shop.item (id) TO '{exports}/deep/er.json.gz'")
        run("COPY shop.item TO 'snappy.bin' (FORMAT parquet, COMPRESSION snappy)")
        run("COPY (SELECT 1 AS a, 'x;y' AS b WHERE false) TO 'none.csv' (HEADER, DELIMITER ';')")
        table = pyarrow.parquet.read_table(exports / "all.parquet").sort_by("id")
        rows = run("SELECT * FROM shop.item ORDER BY id").fetchall()
        assert table.column("id").to_pylist() == [row[0] for row in rows]
        assert table.column("price").to_pylist() == [row[2] for row in rows]
        assert table.column("at").to_pylist() == [row[3] for row in rows]
        assert (exports / "few.csv").read_text() == "id,name\n1,row 1\n2,row 2\n3,row 3\n"
        assert (exports / "none.csv").read_text() == "a;b\n"
        lines = gzip.decompress((exports / "deep" / "er.json.gz").read_bytes()).splitlines()
        assert sorted(json.loads(line)["id"] for line in lines) == list(range(1, 1001))
        snappy = pyarrow.parquet.ParquetFile(exports / "snappy.bin")
        assert snappy.metadata.row_group(0).column(0).compression == "SNAPPY"
        wrong = {
            "COPY shop.item TO 'few.csv'": ("58P02", "OVERWRITE"),
            "COPY shop.item TO '/etc/tarn.csv'": ("42501", "query.exports"),
            "COPY shop.item TO 'x/../../out.csv'": ("42501", "query.exports"),
            f"COPY shop.item TO '{exports}-not/out.csv'": ("42501", "query.exports"),
            "COPY shop.item TO 's3://bucket/out.csv'": ("42501", "query.exports"),
            "COPY shop.item TO 'no-ending'": ("22023", "FORMAT"),
            "COPY shop.item TO 'a.csv' (COMPRESSION zstd)": ("22023", "gzip"),
            "COPY shop.item TO 'a.csv' (NONSENSE)": ("42601", "OVERWRITE"),
            "COPY shop.nope TO 'a.csv'": ("42P01", ""),
            "COPY shop.item FROM 'few.csv'": ("22023", "HEADER true"),
        }
        otherwise = []
        for statement, (code, hint) in wrong.items():
            with pytest.raises(psycopg.Error) as raised:
                run(statement)
            if raised.value.sqlstate != code or hint not in (raised.value.diag.message_hint or ""):
                otherwise.append((statement, raised.value.sqlstate, str(raised.value)))
        assert not otherwise, otherwise
        # A query that fails leaves no file, and an old one as it was.
        for name in ["bad.csv", "bad.parquet", "few.csv"]:
            with pytest.raises(psycopg.Error):
                run(f"COPY (SELECT 1 / (id - 900) FROM shop.item ORDER BY id) TO '{name}' (OVERWRITE)")
        assert (exports / "few.csv").read_text().startswith("id,name\n")
        assert not (exports / "bad.csv").exists() and not (exports / "bad.parquet").exists()
        assert run("COPY (SELECT 7 AS seven) TO 'few.csv' (OVERWRITE)").statusmessage == "COPY 1"
        assert (exports / "few.csv").read_text() == "seven\n7\n"
        assert sorted(path.name for path in exports.rglob("*") if path.is_file()) == [
            "all.parquet", "er.json.gz", "few.csv", "none.csv", "snappy.bin"]
    assert tarn.query("COPY (SELECT 1 AS a) TO 'http.csv'")["rows"] == [[1]]
    with pytest.raises(ApiError, match="STDOUT"):
        tarn.query("COPY shop.item TO STDOUT")
