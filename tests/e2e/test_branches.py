"""Branches that are written, looked at and published, and the rows that changed between two states of a table.

The seed of the random history is printed; TARN_SEED repeats it.
"""

import os
import random
from collections import Counter

import psycopg
import pyarrow as pa
import pytest
from rig.readers import open_pyiceberg
from rig.tarn import Tarn

SEED = int(os.environ.get("TARN_SEED", random.SystemRandom().randrange(2**31)))
STEPS = int(os.environ.get("TARN_E2E_STEPS", "60"))


def connect(tarn: Tarn) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1", port=tarn.pgwire_port, user="tarn", dbname="tarn", connect_timeout=20, autocommit=True)


def rows(connection: psycopg.Connection, sql: str) -> list:
    return sorted(connection.execute(sql).fetchall(), key=repr)


def test_a_change_is_written_to_a_branch_audited_and_published(tarn: Tarn):
    with connect(tarn) as main, connect(tarn) as audit:
        main.execute("CREATE SCHEMA IF NOT EXISTS shop")
        main.execute("CREATE TABLE shop.wap (id bigint PRIMARY KEY, qty int) PARTITIONED BY (bucket(2, id))")
        main.execute("INSERT INTO shop.wap VALUES (1, 10), (2, 20), (3, 30)")
        # The session writes to a branch that its first statement makes, and sees what it wrote.
        audit.execute("SET branch = 'audit'")
        audit.execute("INSERT INTO shop.wap VALUES (4, 40)")
        audit.execute("UPDATE shop.wap SET qty = qty + 1 WHERE id <= 2")
        audit.execute("DELETE FROM shop.wap WHERE id = 3")
        changed, before = [(1, 11), (2, 21), (4, 40)], [(1, 10), (2, 20), (3, 30)]
        assert rows(audit, "SELECT * FROM shop.wap") == changed
        assert rows(main, "SELECT * FROM shop.wap") == before
        assert rows(main, "SELECT * FROM shop.wap.branch_audit") == changed
        assert rows(main, "SELECT * FROM shop.wap FOR VERSION AS OF 'audit'") == changed
        assert rows(audit, "SELECT * FROM shop.wap FOR VERSION AS OF 'main'") == before
        # The key is enforced on the branch.
        with pytest.raises(psycopg.Error, match="key") as duplicate:
            audit.execute("INSERT INTO shop.wap VALUES (4, 41)")
        assert duplicate.value.sqlstate == "23505"
        # Another engine reads both.
        table = open_pyiceberg(tarn).load_table("shop.wap")
        head = table.metadata.refs["audit"].snapshot_id
        of = lambda scan: sorted(tuple(row.values()) for row in scan.to_arrow().to_pylist())
        assert of(table.scan(snapshot_id=head)) == changed
        assert of(table.scan()) == before
        # One statement reads both, and says what publishing would change.
        told = rows(main, "SELECT id, qty, _change_type FROM table_changes('shop.wap', 'main', 'audit', 'net')")
        assert told == [(1, 10, "update_preimage"), (1, 11, "update_postimage"), (2, 20, "update_preimage"),
                        (2, 21, "update_postimage"), (3, 30, "delete"), (4, 40, "insert")]
        # A pool that hands the connection on leaves no branch behind.
        audit.execute("DISCARD ALL")
        assert audit.execute("SHOW branch").fetchone() == ("main",)
        assert rows(audit, "SELECT * FROM shop.wap") == before
        main.execute("CALL fast_forward('shop.wap', 'main', 'audit')")
        assert rows(main, "SELECT * FROM shop.wap") == changed
        main.execute("CALL drop_branch('shop.wap', 'audit')")
        # A session whose branch is gone reads the table itself.
        audit.execute("SET branch = 'audit'")
        assert rows(audit, "SELECT * FROM shop.wap") == changed
        audit.execute("RESET branch")


def test_a_branch_is_written_by_name_and_a_branch_left_behind_is_not_published(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA IF NOT EXISTS shop")
        run("CREATE TABLE shop.named (id bigint, name text)")
        run("INSERT INTO shop.named VALUES (1, 'a'), (2, 'b')")
        run("CALL create_branch('shop.named', 'etl')")
        run("CALL create_tag('shop.named', 'v1')")
        run("INSERT INTO shop.named.branch_etl SELECT id + 10, upper(name) FROM shop.named")
        run("UPDATE shop.named.branch_etl t SET name = t.name || '!' WHERE t.id = 11")
        run("MERGE INTO shop.named.branch_etl t USING shop.named s ON t.id = s.id WHEN MATCHED THEN DELETE")
        assert rows(connection, "SELECT * FROM shop.named.branch_etl") == [(11, "A!"), (12, "B")]
        assert rows(connection, "SELECT named.id FROM shop.named.tag_v1 WHERE named.name = 'a'") == [(1,)]
        run("DELETE FROM shop.named WHERE id = 1")
        with pytest.raises(psycopg.Error, match="was changed after `etl` was made") as behind:
            run("CALL fast_forward('shop.named', 'main', 'etl')")
        assert behind.value.sqlstate in ("55000", "0A000", "22023", "42000"), behind.value.sqlstate
        # The other way nothing is lost, but `etl` went on too.
        with pytest.raises(psycopg.Error, match="was changed after `main` was made"):
            run("CALL fast_forward('shop.named', 'etl', 'main')")
        for statement, message in [
            ("INSERT INTO shop.named.tag_v1 VALUES (9, 'x')", "is a tag, which stays as it is"),
            ("INSERT INTO shop.named.branch_none VALUES (9, 'x')", "named `none`"),
            ("SELECT * FROM shop.named.branch_none", "named `none`"),
            ("CALL fast_forward('shop.named', 'v1', 'etl')", "is a tag, which does not move"),
            ("CALL fast_forward('shop.named', 'main', 'none')", "named `none`"),
            ("DROP TABLE shop.named.branch_etl", "not the name of a table"),
            ("SET branch = 'a:b'", "cannot name a branch"),
            ("SELECT * FROM table_changes('shop.named')", "is not asked like this"),
            ("SELECT * FROM table_changes('shop.none', 1)", "shop.none"),
            ("SELECT * FROM table_changes('shop.named', 'etl', 'main')", "did not come to snapshot"),
            ("SELECT * FROM table_changes('shop.named', 12345)", "12345"),
        ]:
            with pytest.raises(psycopg.Error) as refused:
                run(statement)
            assert message in str(refused.value), f"{statement}: {refused.value}"
        assert rows(connection, "SELECT * FROM shop.named") == [(2, "b")]


def replay(state: Counter, changes: list, width: int) -> Counter:
    """A state with changes applied; a row that goes must be there."""
    state = Counter(state)
    for change in changes:
        row, kind = tuple(change[:width]), change[width]
        if kind in ("delete", "update_preimage"):
            assert state[row] > 0, f"{row} goes but is not there"
            state[row] -= 1
            if not state[row]:
                del state[row]
        else:
            assert kind in ("insert", "update_postimage"), kind
            state[row] += 1
    return state


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
def test_changes_between_any_two_states_lead_from_one_to_the_other(tarn: Tarn, key: str):
    print(f"\nTARN_SEED={SEED}")
    pick = random.Random(SEED)
    table = "feed_keyed" if key else "feed_plain"
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA IF NOT EXISTS shop")
        run(f"CREATE TABLE shop.{table} (id bigint {key}, name text, qty int)")
        other = open_pyiceberg(tarn)
        states: list[tuple[int, Counter]] = []
        current = f"SELECT snapshot_id FROM shop.{table}.refs WHERE name = 'main'"
        for step in range(STEPS):
            low = pick.randrange(40)
            kind = pick.randrange(8)
            if kind < 3:
                ids = pick.sample(range(40), 4) if key else [pick.randrange(40) for _ in range(4)]
                conflict = "ON CONFLICT DO NOTHING" if key else ""
                run(f"INSERT INTO shop.{table} VALUES " +
                    ", ".join(f"({id}, '{pick.choice('abc')}', {pick.randrange(3)})" for id in ids) + f" {conflict}")
            elif kind == 3:
                # Some rows keep their values: they did not change.
                run(f"UPDATE shop.{table} SET qty = 1 WHERE id BETWEEN {low} AND {low + 10}")
            elif kind == 4:
                run(f"DELETE FROM shop.{table} WHERE id BETWEEN {low} AND {low + 4}")
            elif kind == 5:
                run(f"OPTIMIZE TABLE shop.{table}")
            elif kind == 6:
                # Copy-on-write: rows that stay are written again.
                other.load_table(f"shop.{table}").delete(f"id == {low}")
            else:
                rows_now = [("id", pa.int64()), ("name", pa.string()), ("qty", pa.int32())]
                schema = pa.schema([pa.field(n, t, nullable=not (key and n == "id")) for n, t in rows_now])
                other.load_table(f"shop.{table}").append(pa.Table.from_pylist(
                    [{"id": 1_000 + step, "name": "pyiceberg", "qty": step}], schema=schema))
            found = run(current).fetchone()
            if found and (not states or states[-1][0] != found[0]):
                states.append((found[0], Counter(run(f"SELECT * FROM shop.{table}").fetchall())))
        updates = 0
        for _ in range(40):
            first, last = sorted(pick.sample(range(len(states)), 2))
            (start, before), (end, after) = states[first], states[last]
            for net in ("", ", 'net'"):
                # In the order of the commits, each first what goes.
                told = run(f"SELECT * FROM table_changes('shop.{table}', {start}, {end}{net}) ORDER BY _change_ordinal, "
                           "_change_type IN ('insert', 'update_postimage')").fetchall()
                assert replay(before, told, 3) == after, f"seed {SEED}: {start} to {end}{net}"
                updates += sum(change[3] == "update_preimage" for change in told)
                if net:
                    # Nothing is told that makes no difference.
                    gone = Counter(tuple(change[:3]) for change in told if change[3] in ("delete", "update_preimage"))
                    came = Counter(tuple(change[:3]) for change in told if change[3] in ("insert", "update_postimage"))
                    assert not gone & came, f"seed {SEED}: {gone & came}"
        assert updates > 0 if key else updates == 0
        # From the beginning, and only one column of it.
        told = run(f"SELECT _change_type, count(*) FROM table_changes('shop.{table}', null) GROUP BY 1").fetchall()
        whole = run(f"SELECT * FROM table_changes('shop.{table}', null) ORDER BY _change_ordinal, "
                    "_change_type IN ('insert', 'update_postimage')").fetchall()
        assert replay(Counter(), whole, 3) == states[-1][1]
        assert Counter(dict(told)) == Counter(change[3] for change in whole)
        by_name = run(f"SELECT name FROM table_changes('shop.{table}', null) WHERE _change_type = 'insert'").fetchall()
        assert Counter(by_name) == Counter((change[1],) for change in whole if change[3] == "insert")
