"""BEGIN, COMMIT and ROLLBACK over several statements and tables: the same random history in PostgreSQL and here, and kills.

The seed is printed; TARN_SEED repeats a history.
"""

import os
import random
import threading

import psycopg
import pytest
import sqlalchemy as sa
from rig.postgres import Postgres
from rig.process import wait_until
from rig.readers import open_duckdb, pyiceberg_table
from rig.tarn import Tarn

SEED = int(os.environ.get("TARN_SEED", random.SystemRandom().randrange(2**31)))
TRANSACTIONS = int(os.environ.get("TARN_E2E_STEPS", "40"))
ITEMS = "SELECT id, name, qty FROM shop.item ORDER BY id"
LOGS = "SELECT id, name, qty FROM shop.log ORDER BY id, name, qty"
MADE = ("CREATE SCHEMA shop", "CREATE TABLE shop.item (id int PRIMARY KEY, name text, qty int)",
        "CREATE TABLE shop.log (id int, name text, qty int)")


def connect(tarn: Tarn, **options) -> psycopg.Connection:
    return psycopg.connect(host="127.0.0.1", port=tarn.pgwire_port, user="tarn", dbname="tarn", connect_timeout=20, **options)


def left_behind(tarn: Tarn, table: str) -> list:
    return tarn.rows(f"SELECT name FROM {table}.refs WHERE name LIKE 'transaction-%'")


class History:
    """Random statements over `item` (with a key) and `log` (without), which both databases understand."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def statement(self) -> str:
        key, number = self.random.randrange(30), self.random.randrange(100)
        return self.random.choice([
            f"INSERT INTO shop.item VALUES ({key}, 'new', {number}) ON CONFLICT (id) DO UPDATE SET qty = {number}",
            # Often a key that is there: the transaction fails, and goes on from a savepoint or not at all.
            f"INSERT INTO shop.item VALUES ({key}, 'once', {number})",
            f"UPDATE shop.item SET qty = qty + 1 WHERE id % 3 = {key % 3}",
            f"DELETE FROM shop.item WHERE id = {key}",
            f"INSERT INTO shop.log SELECT id, name, qty FROM shop.item WHERE id < {key}",
            f"INSERT INTO shop.log VALUES ({key}, NULL, {number})",
            f"UPDATE shop.log SET name = 'seen' WHERE qty < {number}",
            f"DELETE FROM shop.log WHERE id = {key}",
            "TRUNCATE shop.log" if self.random.random() < 0.1 else f"DELETE FROM shop.log WHERE qty = {number}",
        ])


def run_on_both(both: list[psycopg.Connection], statement: str) -> bool:
    """Whether it came about; either on both sides or on none, for the same reason and with as many rows."""
    said = []
    for connection in both:
        try:
            said.append(connection.execute(statement).rowcount)
        except psycopg.Error as error:
            said.append(error.sqlstate)
    # PostgreSQL says -1 of statements without rows.
    assert said[0] == said[1] or statement.startswith("TRUNCATE"), (SEED, statement, said)
    return isinstance(said[0], int)


def test_a_random_history_is_that_of_postgresql(tarn: Tarn, postgres: Postgres, database: str):
    print(f"seed {SEED}")
    history = History(SEED)
    choose = history.random
    with postgres.connect(database) as theirs, connect(tarn, autocommit=True) as ours, connect(tarn, autocommit=True) as watcher:
        both = [theirs, ours]
        for statement in MADE:
            assert run_on_both(both, statement)
        committed = {ITEMS: [], LOGS: []}
        for step in range(TRANSACTIONS):
            assert run_on_both(both, "BEGIN")
            alive, savepoints = True, []
            for _ in range(choose.randrange(1, 7)):
                kind = choose.random()
                if kind < 0.2 and alive:
                    savepoints.append(f"s{choose.randrange(3)}")
                    assert run_on_both(both, f"SAVEPOINT {savepoints[-1]}")
                elif kind < 0.4 and savepoints:
                    name = choose.choice(savepoints)
                    assert run_on_both(both, f"ROLLBACK TO SAVEPOINT {name}"), (SEED, step)
                    alive = True
                    savepoints = savepoints[:len(savepoints) - savepoints[::-1].index(name)]
                elif kind < 0.45 and savepoints and alive:
                    name = choose.choice(savepoints)
                    assert run_on_both(both, f"RELEASE {name}")
                    savepoints = savepoints[:len(savepoints) - savepoints[::-1].index(name) - 1]
                else:
                    alive = run_on_both(both, history.statement()) and alive
                if alive:
                    for query in (ITEMS, LOGS):
                        rows = [connection.execute(query).fetchall() for connection in both]
                        assert rows[0] == rows[1], (SEED, step, query)
                # Others see nothing of it.
                for query, before in committed.items():
                    assert watcher.execute(query).fetchall() == before, (SEED, step, query)
            assert run_on_both(both, choose.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
            for query in (ITEMS, LOGS):
                committed[query] = theirs.execute(query).fetchall()
                assert watcher.execute(query).fetchall() == committed[query], (SEED, step, query)
        assert left_behind(tarn, "shop.item") == left_behind(tarn, "shop.log") == []
    rows = sorted(tuple(row.values()) for row in pyiceberg_table(tarn, "shop.item").to_pylist())
    assert rows == committed[ITEMS], SEED
    with open_duckdb(tarn) as duck:
        assert duck.execute("SELECT id, name, qty FROM lake.shop.item ORDER BY id").fetchall() == committed[ITEMS], SEED


def test_the_first_of_two_that_change_a_table_wins(tarn: Tarn):
    with connect(tarn) as first, connect(tarn) as second, connect(tarn, autocommit=True) as other:
        for statement in MADE:
            other.execute(statement)
        other.execute("INSERT INTO shop.item VALUES (1, 'a', 1)")
        first.execute("UPDATE shop.item SET qty = qty + 1")
        first.execute("INSERT INTO shop.log VALUES (1, 'first', 1)")
        second.execute("UPDATE shop.item SET qty = qty + 10")
        second.execute("INSERT INTO shop.log VALUES (2, 'second', 1)")
        assert second.execute(ITEMS).fetchall() == [(1, "a", 11)]
        first.commit()
        with pytest.raises(psycopg.Error) as raised:
            second.commit()
        assert raised.value.sqlstate == "40001", raised.value.diag.message_primary
        assert "shop." in raised.value.diag.message_primary and "again" in raised.value.diag.message_hint
        # The connection goes on, and the transaction run again finds what the first one did.
        assert second.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        second.execute("UPDATE shop.item SET qty = qty + 10")
        second.commit()
        # A statement of its own changes the table under a transaction.
        first.execute("DELETE FROM shop.item")
        other.execute("INSERT INTO shop.item VALUES (2, 'b', 2)")
        with pytest.raises(psycopg.errors.SerializationFailure):
            first.commit()
        assert other.execute(ITEMS).fetchall() == [(1, "a", 12), (2, "b", 2)]
        assert other.execute(LOGS).fetchall() == [(1, "first", 1)]
        # Files put together meanwhile are another change; different tables are none.
        first.execute("INSERT INTO shop.item VALUES (3, 'c', 3)")
        second.execute("INSERT INTO shop.log VALUES (3, 'third', 3)")
        first.commit()
        second.commit()
        assert other.execute("SELECT count(*) FROM shop.item").fetchone() == (3,)
        assert other.execute("SELECT count(*) FROM shop.log").fetchone() == (2,)
    assert left_behind(tarn, "shop.item") == left_behind(tarn, "shop.log") == []


def test_what_a_transaction_makes_goes_with_it(tarn: Tarn):
    names = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ('shop', 'mart') ORDER BY 2"
    with connect(tarn) as connection:
        run = connection.execute
        for _ in range(2):
            run("CREATE SCHEMA mart")
            run("CREATE TABLE mart.t (id int PRIMARY KEY, name text)")
            run("COMMENT ON TABLE mart.t IS 'made'")
            run("INSERT INTO mart.t VALUES (1, 'a')")
            run("CREATE TABLE mart.u AS SELECT id + 1 AS id FROM mart.t")
            run("CREATE VIEW mart.v AS SELECT * FROM mart.u")
            assert run("SELECT * FROM mart.v").fetchall() == [(2,)]
            assert run(names).fetchall() == [("mart", "t"), ("mart", "u"), ("mart", "v")]
            connection.rollback()
            assert run(names).fetchall() == []
            connection.commit()
        run("CREATE SCHEMA shop")
        run("CREATE TABLE shop.item (id int PRIMARY KEY, name text, qty int)")
        with connection.cursor().copy("COPY shop.item FROM STDIN") as copy:
            copy.write("1\ta\t1\n2\tb\t2\n")
        run("SAVEPOINT made")
        run("CREATE TABLE shop.log (id int, name text, qty int)")
        run("ROLLBACK TO made")
        assert tarn.rows("SELECT count(*) FROM shop.item") == [[0]]
        run("CREATE TABLE shop.log (id int, name text, qty int)")
        run("SAVEPOINT after")
        with connect(tarn, autocommit=True) as other:
            other.execute("DROP TABLE shop.log")
        with pytest.raises(psycopg.errors.DivisionByZero):
            run("CREATE TABLE shop.log AS SELECT 1 / (qty - qty) AS id FROM shop.item")
        run("ROLLBACK TO after")
        run("SAVEPOINT \"With Spaces\"")
        run("ROLLBACK TO SAVEPOINT \"With Spaces\" -- its name comes last")
        run("RELEASE \"With Spaces\"")
        connection.commit()
        assert tarn.rows("SELECT count(*) FROM shop.item") == [[2]]
        # Nobody makes a branch that would be taken for one of a transaction, and expire.
        with connect(tarn, autocommit=True) as other, pytest.raises(psycopg.Error) as raised:
            other.execute("CALL create_branch('shop.item', 'transaction-mine')")
        assert "are those of transactions" in str(raised.value)
        assert run(names).fetchall() == [("shop", "item")]


def test_a_connection_that_breaks_leaves_nothing(tarn: Tarn):
    with connect(tarn, autocommit=True) as other:
        for statement in MADE:
            other.execute(statement)
        other.execute("INSERT INTO shop.item VALUES (1, 'a', 1)")
    gone = connect(tarn)
    gone.execute("UPDATE shop.item SET qty = 9")
    gone.execute("CREATE TABLE shop.never (id int)")
    assert len(left_behind(tarn, "shop.item")) == 1
    gone.pgconn.finish()
    wait_until("it is rolled back", lambda: left_behind(tarn, "shop.item") == []
               and tarn.rows("SELECT count(*) FROM information_schema.tables WHERE table_name = 'never'") == [[0]])
    assert tarn.rows(ITEMS) == [[1, "a", 1]]


def test_what_a_rollback_could_not_undo_is_refused(tarn: Tarn):
    tarn.write_resource("inbox", "kind: source\nname: inbox\nspec:\n  type: http_push\n  key: [id]\n")
    tarn.ok("apply", "--yes")
    wait_until("it runs", lambda: tarn.takes_rows("inbox"))
    tarn.push("inbox", {"id": 1})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 1)
    with connect(tarn) as connection:
        with connect(tarn, autocommit=True) as other:
            for statement in MADE:
                other.execute(statement)
            other.execute("INSERT INTO shop.item VALUES (1, 'a', 1)")
            other.execute("CALL create_branch('shop.item', 'audit')")
        for statement, code, said in [
            ("DROP TABLE shop.log", "25001", "cannot run in a transaction"),
            ("ALTER TABLE shop.item ADD COLUMN more int", "25001", "cannot run in a transaction"),
            ("OPTIMIZE TABLE shop.item", "25001", "cannot run in a transaction"),
            ("VACUUM shop.item", "25001", "cannot run in a transaction"),
            ("CREATE OR REPLACE VIEW shop.v AS SELECT 1 AS one", "25001", "cannot run in a transaction"),
            ("CALL create_tag('shop.item', 'now')", "25001", "cannot run in a transaction"),
            ("INSERT INTO shop.item.branch_audit VALUES (2, 'b', 2)", "25001", "branch"),
            ("DELETE FROM inbox.inbox", None, "feeds it"),
            ("ROLLBACK TO nowhere", "3B001", "does not exist"),
        ]:
            with pytest.raises(psycopg.Error) as raised:
                connection.execute(statement)
            assert code in (None, raised.value.sqlstate) and said in str(raised.value), (statement, raised.value.sqlstate, str(raised.value))
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                connection.execute("SELECT 1")
            connection.rollback()
    with connect(tarn, autocommit=True) as connection:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute("SAVEPOINT s")
        assert raised.value.sqlstate == "25P01"
        # A table that is not there is none that the transaction changed, and one that came in the place of its own stays.
        with connection.transaction():
            with pytest.raises(psycopg.errors.UndefinedTable), connection.transaction():
                connection.execute("INSERT INTO shop.nothing VALUES (1)")
            connection.execute("INSERT INTO shop.log VALUES (9, 'kept', 9)")
            with connection.transaction():
                connection.execute("DELETE FROM shop.log WHERE id = 9")
        with connect(tarn) as first:
            first.execute("CREATE TABLE shop.made (id int)")
            connection.execute("DROP TABLE shop.made")
            connection.execute("CREATE TABLE shop.made AS SELECT 7 AS id")
            first.rollback()
        assert connection.execute("SELECT * FROM shop.made").fetchall() == [(7,)]
        # Reads of what is fed, and changes elsewhere, go together.
        with connection.transaction():
            connection.execute("INSERT INTO shop.log SELECT id, 'copied', 1 FROM inbox.inbox")
            with pytest.raises(psycopg.Error), connection.transaction():
                connection.execute("INSERT INTO shop.item VALUES (1, 'twice', 1)")
            connection.execute("INSERT INTO shop.item VALUES (2, 'b', 2)")
        assert connection.execute(LOGS).fetchall() == [(1, "copied", 1)]
        assert connection.execute(ITEMS).fetchall() == [(1, "a", 1), (2, "b", 2)]


def test_sqlalchemy_with_its_own_transactions(tarn: Tarn):
    engine = sa.create_engine(f"postgresql+psycopg://tarn@127.0.0.1:{tarn.pgwire_port}/tarn")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA shop")
    metadata = sa.MetaData(schema="shop")
    item = sa.Table("item", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("name", sa.Text))
    metadata.create_all(engine, checkfirst=False)
    with engine.begin() as connection:
        connection.execute(item.insert(), [{"id": n, "name": f"n{n}"} for n in range(10)])
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(item.insert(), {"id": 3, "name": "twice"})
        connection.execute(item.delete().where(item.c.id > 7))
    with engine.connect() as connection:
        connection.execute(item.delete())
        connection.rollback()
        assert connection.execute(sa.select(sa.func.count(), sa.func.max(item.c.id)).select_from(item)).fetchall() == [(8, 7)]
    engine.dispose()


def test_several_tables_change_together_at_every_kill(make_tarn):
    """Two writers set one number in three tables in a transaction while the server is killed; all three always agree."""
    tarn = make_tarn().start()
    tables = ["bank.a", "bank.b", "bank.c"]
    with connect(tarn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA bank")
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, n int)")
            connection.execute(f"INSERT INTO {table} VALUES (1, 0)")
    last = 0
    for crash in range(4):
        done: list[int] = []
        stop = threading.Event()

        def write(done: list[int] = done, stop: threading.Event = stop) -> None:
            try:
                with connect(tarn) as connection:
                    while not stop.is_set():
                        try:
                            for table in tables:
                                connection.execute(f"UPDATE {table} SET n = n + 1")
                            number = connection.execute("SELECT n FROM bank.c").fetchone()[0]
                            connection.commit()
                            done.append(number)
                        except psycopg.errors.SerializationFailure:
                            connection.rollback()
            except psycopg.OperationalError:
                return  # It was killed.
        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        wait_until("some are committed", lambda done=done, crash=crash: len(done) >= 3 + crash)
        tarn.kill()
        stop.set()
        for writer in writers:
            writer.join()
        tarn.start()
        seen = {table: tarn.value(f"SELECT n FROM {table}") for table in tables}
        assert len(set(seen.values())) == 1, (crash, seen)
        # No two got the same number; what was acknowledged is there, and at most what was under way beside it.
        assert len(done) == len(set(done)) and sorted(done) == list(range(last + 1, last + 1 + len(done))), (crash, last, done)
        assert max(done) <= seen["bank.a"] <= max(done) + 2, (crash, seen, done)
        last = seen["bank.a"]
