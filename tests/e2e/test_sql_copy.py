"""COPY over the PostgreSQL protocol: the same files and tables through PostgreSQL and here."""

import io
import os
import random
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest
from rig.postgres import PROGRAMS, Postgres
from rig.tarn import Tarn

SEED = int(os.environ.get("TARN_SEED", random.SystemRandom().randrange(2**31)))
COLUMNS = [
    ("id", "bigint"), ("b", "boolean"), ("i", "int"), ("r", "real"), ("d", "double precision"), ("n", "numeric(12, 3)"),
    ("day", "date"), ("t", "time"), ("at", "timestamp"), ("tz", "timestamptz"), ("name", "text"), ("raw", "bytea"),
    ("u", "uuid"),
]
TABLE = "(" + ", ".join(f"{name} {kind}" for name, kind in COLUMNS) + ")"


def connect(tarn: Tarn, **options) -> psycopg.Connection:
    options = {"autocommit": True} | options
    return psycopg.connect(
        host="127.0.0.1", port=tarn.pgwire_port, user="tarn", dbname="tarn", connect_timeout=20, **options)


@pytest.fixture
def pair(tarn: Tarn, postgres: Postgres, database: str):
    """The same empty schema in both."""
    with connect(tarn) as ours, postgres.connect(database) as theirs:
        for connection in (ours, theirs):
            connection.execute("CREATE SCHEMA shop")
            connection.execute("SET search_path TO shop")
            connection.execute("SET TimeZone TO 'Asia/Shanghai'")
            connection.execute("SET DateStyle TO 'ISO, YMD'")
        yield ours, theirs


def value(kind: str, dice: random.Random):
    """A text that PostgreSQL reads as a value of the type, or None."""
    if dice.random() < 0.15:
        return None
    number = dice.randrange(-(2**31), 2**31)
    stamp = (f"{dice.randrange(1900, 2100)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}"
             f"{dice.choice([' ', 'T'])}{dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02}"
             f"{dice.choice(['', '.5', '.123456', '.1234567'])}")
    return {
        "bigint": str(number * dice.choice([1, 1, 2**30])),
        "boolean": dice.choice(["t", "f", "true", "no", "ON", "0", " y "]),
        "int": dice.choice([str(number), f" {number} ", f"{abs(number) % 9}", "+7"]),
        # Tables keep no sign of a zero.
        "real": dice.choice(["1.5", "0", "1e30", "NaN", "-Infinity", "inf", ".25", f"{number % 9999 / 8}"]),
        "double precision": dice.choice(["1.5", "0", "1e300", "NaN", "Infinity", "5.", f"{number / 7}"]),
        "numeric(12, 3)": dice.choice(["1.0005", "-1.0005", "1e3", f"{number / 1000}", "0", ".1", "12345.67890"]),
        "date": stamp[:10],
        "time": stamp[11:],
        "timestamp": stamp,
        "timestamptz": stamp + dice.choice(["", "+00", "-03:30", "+0530", "Z", " UTC", " Europe/Paris"]),
        "text": dice.choice(["", "a", "\\N", "\\.", "tab\there", "line\nbreak", "cr\rhere", 'quote"d', "back\\slash", "数据 😀",
                             "a,b;c|d", "  spaces  ", "NULL", "x" * dice.randrange(1, 3000), "\b\f\v", "'"]),
        "bytea": dice.choice(["\\x", "\\xdeadBEEF", "abc", "a\\\\b\\001", "\\x00ff"]),
        "uuid": dice.choice(["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
                             "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
    }[kind]


def as_text(rows, delimiter="\t", null="\\N", end="\n") -> bytes:
    escapes = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\v": "\\v",
               delimiter: f"\\{delimiter}" if delimiter != "\t" else "\\t"}

    def field(text):
        return null if text is None else "".join(escapes.get(char, char) for char in text)
    return "".join(delimiter.join(map(field, row)) + end for row in rows).encode()


def as_csv(rows, delimiter=",", quote='"', escape='"', null="", end="\n", header=None) -> bytes:
    def field(text):
        if text is None:
            return null
        if escape != quote:
            text = text.replace(escape, escape * 2)
        return quote + text.replace(quote, escape + quote) + quote
    lines = [delimiter.join(header)] if header else []
    return "".join(line + end for line in lines + [delimiter.join(map(field, row)) for row in rows]).encode()


def copy_in(connection: psycopg.Connection, sql: str, data: bytes, dice: random.Random):
    """Sends data in pieces of random size. The tag, or the error with its code, text and context."""
    cursor = connection.cursor()
    try:
        with cursor.copy(sql) as copy:
            at = 0
            while at < len(data):
                size = dice.choice([1, 7, 100, 8192, 100_000])
                copy.write(data[at:at + size])
                at += size
        return cursor.statusmessage
    except psycopg.Error as error:
        diag = error.diag
        return (error.sqlstate, diag.message_primary, diag.context)


def copy_out(connection: psycopg.Connection, sql: str) -> bytes:
    with connection.cursor().copy(sql) as copy:
        return b"".join(map(bytes, copy))


FORMATS = [
    ("", as_text, {}),
    ("(FORMAT text, DELIMITER '|', NULL 'nil')", as_text, {"delimiter": "|", "null": "nil"}),
    ("WITH DELIMITER AS ';'", as_text, {"delimiter": ";"}),
    ("(FORMAT text)", as_text, {"end": "\r\n"}),
    ("(FORMAT text)", as_text, {"end": "\r"}),
    ("(FORMAT csv)", as_csv, {}),
    ("WITH CSV HEADER", as_csv, {"header": [name for name, _ in COLUMNS]}),
    ("(FORMAT csv, HEADER match, NULL '\\N')", as_csv, {"header": [name for name, _ in COLUMNS], "null": "\\N"}),
    ("(FORMAT csv, DELIMITER E'\\t', QUOTE '''', ESCAPE '\\')", as_csv, {"delimiter": "\t", "quote": "'", "escape": "\\"}),
    ("(FORMAT csv)", as_csv, {"end": "\r\n"}),
]


def test_the_same_file_gives_the_same_rows_and_the_same_table_the_same_bytes(pair):
    print(f"\nTARN_SEED={SEED}")
    ours, theirs = pair
    dice = random.Random(SEED)
    for connection in pair:
        connection.execute(f"CREATE TABLE item {TABLE}")
    for at, (options, write, how) in enumerate(FORMATS):
        rows = [[str(n)] + [value(kind, dice) for _, kind in COLUMNS[1:]] for n in range(dice.choice([0, 1, 40, 400]))]
        data = write(rows, **how)
        if dice.random() < 0.3:
            data = data.rstrip(b"\r\n") if rows and rows[-1][-1] else data
        for connection in pair:
            connection.execute("DELETE FROM item")
        answers = [copy_in(one, f"COPY item FROM STDIN {options}", data, dice) for one in pair]
        assert answers[0] == answers[1] == f"COPY {len(rows)}", (options, answers)
        select = "SELECT * FROM item ORDER BY id"
        for mine, other in zip(ours.execute(select).fetchall(), theirs.execute(select).fetchall(), strict=True):
            assert repr(mine) == repr(other), (options, [row for row in rows if row[0] == str(mine[0])])
        for out in ["", "(FORMAT csv)", "(FORMAT csv, HEADER, FORCE_QUOTE *)", "CSV QUOTE AS '''' FORCE QUOTE name, i",
                    "(FORMAT text, HEADER, DELIMITER '|', NULL 'nil')", "(FORMAT csv, DELIMITER ';', NULL 'NULL')",
                    "(FORMAT csv, ESCAPE '\\')", "(FORMAT binary)"]:
            answers = [copy_out(one, f"COPY ({select}) TO STDOUT {out}") for one in pair]
            assert answers[0] == answers[1], (at, out)
    # What was written comes back, also in binary form.
    for out in ["", "(FORMAT csv)", "(FORMAT binary)"]:
        data = copy_out(ours, f"COPY item TO STDOUT {out}")
        before = sorted(map(repr, ours.execute("SELECT * FROM item").fetchall()))
        for connection in pair:
            connection.execute("DELETE FROM item")
            assert copy_in(connection, f"COPY item FROM STDIN {out}", data, dice) == f"COPY {len(before)}"
            assert sorted(map(repr, connection.execute("SELECT * FROM item").fetchall())) == before


WRONG = [
    # options, data
    ("", b"1\tx\n2\n"),
    ("", b"1\tx\ty\t4\n"),
    ("", b"1\ta\t2\n2\tb\tabc\n"),
    ("", b"x\ta\t2\n"),
    ("", b"1\ta\t99999999999\n"),
    ("", b"1\ta\t2\r\n2\tb\t3\n"),
    ("", b"1\ta\t2\n2\tb\t3\r\n"),
    ("", b"1\ta\t2\n\\.x\n"),
    ("", b"1\ta\t2\n\\.\r\n"),
    ("", b"1\t\xff\xfe\t2\n"),
    ("", b"1\ta\\377\t2\n"),
    ("", b"1\ta\x00\t2\n"),
    ("", b"1\t" + b"y" * 300 + b"\tz\n"),
    ("(FORMAT csv)", b'1,"open,2\n'),
    ("(FORMAT csv)", b"1,a\n"),
    ("(FORMAT csv)", b"1,a,2,3\n"),
    ("(FORMAT csv)", b"1,a,\"\"\n"),
    ("(FORMAT csv)", b"1,\"two\nlines\",2\n2,b,x\n"),
    ("(FORMAT csv, HEADER match)", b"id,nam,qty\n1,a,2\n"),
    ("(FORMAT csv, HEADER match)", b"id,name\n1,a\n"),
    ("(FORMAT csv, HEADER match)", b"id,,qty\n1,a\n"),
    ("(FORMAT csv, HEADER)", b"id,name,qty\n1,a,b\n"),
    ("(FORMAT binary)", b"nonsense that is longer than the head"),
    ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02"),
    ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x02\0\x01\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("(FORMAT binary)", b"PGCOPY\n\xff\r\n\0\0\0\0\0"),
]
BAD_OPTIONS = [
    "COPY item FROM STDIN (FORMAT xml)", "COPY item FROM STDIN (FORMAT csv, FORMAT csv)", "COPY item FROM STDIN (NONSENSE 1)",
    "COPY item FROM STDIN (DELIMITER 'ab')", "COPY item FROM STDIN (DELIMITER E'\\n')", "COPY item FROM STDIN (DELIMITER 'a')",
    "COPY item FROM STDIN (FORMAT csv, DELIMITER '\"')", "COPY item FROM STDIN (QUOTE '''')", "COPY item FROM STDIN (ESCAPE 'x')",
    "COPY item FROM STDIN (FORMAT csv, QUOTE 'ab')", "COPY item FROM STDIN (FORMAT csv, FORCE_QUOTE *)",
    "COPY item TO STDOUT (FORMAT csv, FORCE_NULL (name))", "COPY item FROM STDIN (FORMAT binary, DELIMITER ',')",
    "COPY item FROM STDIN (FORMAT binary, HEADER)", "COPY item FROM STDIN (NULL E'a\\nb')",
    "COPY item FROM STDIN (FORMAT csv, NULL 'a,b')", "COPY item FROM STDIN (HEADER maybe)",
    "COPY item TO STDOUT (FORMAT csv, HEADER match)", "COPY item (id, id) FROM STDIN", "COPY item (nope) FROM STDIN",
    "COPY nope FROM STDIN", "COPY item FROM STDIN (FORMAT csv, FORCE_QUOTE (name))",
]


def test_wrong_data_and_wrong_options_are_told_like_in_postgresql(pair):
    ours, theirs = pair
    dice = random.Random(1)
    for connection in pair:
        connection.execute("CREATE TABLE item (id bigint, name text, qty int)")
    otherwise = []
    for options, data in WRONG:
        answers = [copy_in(one, f"COPY item FROM STDIN {options}", data, dice) for one in pair]
        if answers[0] != answers[1]:
            otherwise.append((options, data[:40], *answers))
    for sql in BAD_OPTIONS:
        answers = []
        for connection in pair:
            with pytest.raises(psycopg.Error) as raised, connection.cursor().copy(sql) as copy:
                copy.write(b"1\ta\t2\n")
            answers.append((raised.value.sqlstate, raised.value.diag.message_primary))
        # Names are told here as in every statement.
        if answers[0][0] != answers[1][0] or (answers[0] != answers[1] and "nope" not in sql):
            otherwise.append((sql, *answers))
    assert not otherwise, "\n".join(map(str, otherwise))
    for connection in pair:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (0,)


def test_a_copy_is_one_commit_or_none(pair, tarn: Tarn):
    ours, _ = pair
    dice = random.Random(2)
    ours.execute("CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL, qty int) PARTITIONED BY (bucket(4, id))")
    many = "".join(f"{n}\tname {n}\t\\N\n" for n in range(30_000)).encode()
    assert copy_in(ours, "COPY item FROM STDIN", many, dice) == "COPY 30000"
    snapshots = ours.execute("SELECT count(*) FROM shop.item.history").fetchone()
    # Keys that are there, that come twice, and rows without what is never null.
    failed = {
        b"40000\ta\t1\n7\tb\t1\n": "23505", b"40000\ta\t1\n40000\tb\t1\n": "23505", b"40000\t\\N\t1\n": "23502",
        b"40000\ta\t1\n40001\tb\tx\n": "22P02",
    }
    for data, code in failed.items():
        answer = copy_in(ours, "COPY item FROM STDIN", data, dice)
        assert answer[0] == code, (data, answer)
    answer = copy_in(ours, "COPY item (id, qty) FROM STDIN", b"40000\t1\n", dice)
    assert answer[0] == "23502" and answer[2].startswith("COPY item, line 1"), answer
    # The client gives up, and one goes away.
    with pytest.raises(ValueError), ours.cursor().copy("COPY item FROM STDIN") as copy:
        copy.write("".join(f"{n}\tname\t1\n" for n in range(100_000, 120_000)))
        raise ValueError("enough")
    gone = connect(tarn)
    with gone.cursor() as cursor:
        # Kept, as what nobody holds ends the COPY by itself.
        manager = cursor.copy("COPY shop.item FROM STDIN")
        copy = manager.__enter__()
        copy.write(b"50000\ta\t1\n" * 20_000)
        gone.pgconn.finish()
    # Within a transaction it is undone with it.
    with connect(tarn, autocommit=False) as careful:
        with careful.cursor().copy("COPY shop.item FROM STDIN") as copy:
            copy.write(b"50001\ta\t1\n")
        assert copy_out(careful, "COPY (SELECT count(*) FROM shop.item) TO STDOUT") == b"30001\n"
        careful.rollback()
        assert copy_out(careful, "COPY (SELECT count(*) FROM shop.item) TO STDOUT") == b"30000\n"
    assert ours.execute("SELECT count(*), count(DISTINCT id), max(id) FROM item").fetchone() == (30_000, 30_000, 29_999)
    assert ours.execute("SELECT count(*) FROM shop.item.history").fetchone() == snapshots
    # Nobody waits for one that takes its time, and it finds what came meanwhile.
    with ours.cursor().copy("COPY item (qty, id, name) FROM STDIN (FORMAT csv)") as copy:
        copy.write(b"1,60000,slow\n")
        with connect(tarn) as other:
            other.execute("INSERT INTO shop.item VALUES (60001, 'quick', 1)")
        copy.write(b"2,60002,slow\n")
    assert ours.execute("SELECT id, name, qty FROM item WHERE id >= 60000 ORDER BY id").fetchall() == [
        (60000, "slow", 1), (60001, "quick", 1), (60002, "slow", 2)]
    with pytest.raises(psycopg.Error) as raised, ours.cursor().copy("COPY item FROM STDIN") as copy:
        copy.write(b"60003\tslow\t1\n")
        with connect(tarn) as other:
            other.execute("INSERT INTO shop.item VALUES (60003, 'quick', 1)")
    assert raised.value.sqlstate == "23505"
    assert ours.execute("SELECT name FROM item WHERE id = 60003").fetchall() == [("quick",)]


def test_rows_that_do_not_fit_can_be_left_out(pair):
    ours, _ = pair
    dice = random.Random(3)
    ours.execute("CREATE TABLE item (id bigint, name text, qty int)")
    notices = []
    ours.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    data = b"1,a,2\n2,b,x\ny,c,3\n4,D,5\n"
    assert copy_in(ours, "COPY item FROM STDIN (FORMAT csv, ON_ERROR ignore, DEFAULT 'D')", data, dice) == "COPY 2"
    assert notices == ["2 rows were skipped due to data type incompatibility"]
    assert ours.execute("SELECT * FROM item ORDER BY id").fetchall() == [(1, "a", 2), (4, None, 5)]
    assert copy_in(ours, "COPY item FROM STDIN (FORMAT csv, ON_ERROR ignore)", b"1,a\n", dice)[0] == "22P04"


def test_psql_and_several_writers(pair, tarn: Tarn, folder: Path):
    ours, _ = pair
    ours.execute("CREATE TABLE item (id bigint, name text)")
    (folder / "in.csv").write_text('id,name\n1,"a, b"\n2,\n')

    def psql(*commands: str, stdin: str = "") -> str:
        arguments = [word for command in commands for word in ("-c", command)]
        done = subprocess.run(
            [PROGRAMS / "psql", "-h", "127.0.0.1", "-p", str(tarn.pgwire_port), "-U", "tarn", "-d", "tarn", "-X",
             "-v", "ON_ERROR_STOP=1", *arguments],
            input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert psql(f"\\copy shop.item from '{folder}/in.csv' with (format csv, header)") == "COPY 2\n"
    assert psql("COPY shop.item FROM STDIN", stdin="3\tthree\n\\.\n") == "COPY 3\n".replace("3", "1")
    out = psql(f"\\copy (select * from shop.item order by id) to '{folder}/out.csv' csv header", "SELECT 1 AS one")
    assert out.startswith("COPY 3\n") and " one" in out
    assert (folder / "out.csv").read_text() == 'id,name\n1,"a, b"\n2,\n3,three\n'
    assert psql("COPY (SELECT 1) TO STDOUT; COPY shop.item TO STDOUT (FORMAT csv)").splitlines()[0] == "1"
    failures = []

    def write(who: int) -> None:
        try:
            with connect(tarn) as own, own.cursor().copy("COPY shop.item FROM STDIN") as copy:
                for n in range(5_000):
                    copy.write_row((who * 10_000 + n, f"of {who}"))
        except Exception as error:  # noqa: BLE001
            failures.append(error)
    threads = [threading.Thread(target=write, args=[who]) for who in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    rows = ours.execute("SELECT name, count(DISTINCT id) FROM item WHERE id >= 10000 GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [(f"of {who}", 5_000) for who in range(1, 5)]
    # The extended protocol, as drivers with prepared statements use it.
    data = io.BytesIO()
    with ours.cursor() as cursor, cursor.copy("COPY item (id) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int8"])
        copy.write_row([70_000])
    with ours.cursor() as cursor, cursor.copy("COPY (SELECT id FROM item WHERE id = %s) TO STDOUT", [70_000]) as copy:
        for piece in copy:
            data.write(piece)
    assert data.getvalue() == b"70000\n"


def copied_files(connection: psycopg.Connection, sql: str):
    """The tag, or the error with its code, text and context."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return cursor.statusmessage
    except psycopg.Error as error:
        return (error.sqlstate, error.diag.message_primary, error.diag.context)


def test_files_of_the_server_are_read_like_in_postgresql(tarn: Tarn, postgres: Postgres, database: str):
    """COPY FROM 'file' of both servers over the same files: the same rows, and the same errors with line and column."""
    folder = postgres.folder / "files"
    folder.mkdir(mode=0o755)
    files = {
        "plain.csv": b'1,"a, b",5\n2,,\n3,"",7\n4,"say ""hi""\nthere",-1\n',
        "header.csv": b"id,name,qty\n1,a,2\n2,b,3\n",
        "other.csv": b"id,title,qty\n1,a,2\n",
        "text.txt": b"1\ta\\tb\t5\n2\t\\N\t\\N\n3\t\t0\n",
        "semi.csv": b"1;'it''s';NA\n2;NA;4\n",
        "bad.csv": b"id,name,qty\n1,a,2\n2,b,many\n3,c,4\n",
        "short.csv": b"1,a,2\n2,b\n",
        "long.csv": b"1,a,2\n2,b,3,4\n",
        "open.csv": b'1,a,2\n2,"b,3\n',
        "wide.csv": b"1,a,99999999999\n",
        "latin.csv": b"1,caf\xff,2\n",
        "empty.csv": b"",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644)
    statements = [
        ("plain.csv", "(FORMAT csv)"), ("plain.csv", "WITH (FORMAT csv, FORCE_NOT_NULL (name))"), ("plain.csv", "CSV"),
        ("plain.csv", "(FORMAT csv, FORCE_NULL (name))"),
        ("header.csv", "(FORMAT csv, HEADER)"), ("header.csv", "(FORMAT csv, HEADER match)"), ("other.csv", "(FORMAT csv, HEADER match)"),
        ("header.csv", "CSV HEADER"), ("header.csv", "(FORMAT csv)"), ("text.txt", ""),
        ("semi.csv", "(FORMAT csv, DELIMITER ';', QUOTE '''', NULL 'NA')"),
        ("bad.csv", "(FORMAT csv, HEADER)"), ("short.csv", "(FORMAT csv)"), ("long.csv", "(FORMAT csv)"), ("open.csv", "(FORMAT csv)"),
        ("wide.csv", "(FORMAT csv)"), ("latin.csv", "(FORMAT csv)"), ("empty.csv", "(FORMAT csv)"), ("none.csv", "(FORMAT csv)"),
        ("plain.csv", "(FORMAT csv, DELIMITER '||')"), ("plain.csv", "(FORMAT csv, HEADER maybe)"),
    ]
    theirs = postgres.connect("postgres", user="postgres")
    theirs.execute("CREATE SCHEMA files")
    with connect(tarn) as ours, theirs:
        for connection in (ours, theirs):
            connection.execute("CREATE SCHEMA IF NOT EXISTS files")
            connection.execute("SET search_path TO files")
            connection.execute("CREATE TABLE item (id bigint, name text, qty int)")
        otherwise = []
        for name, options in statements:
            answers = [copied_files(one, f"COPY item FROM '{folder / name}' {options}") for one in (ours, theirs)]
            rows = [one.execute("SELECT * FROM item ORDER BY id, name, qty").fetchall() for one in (ours, theirs)]
            if answers[0] != answers[1] or rows[0] != rows[1]:
                otherwise.append((name, options, *answers))
        assert not otherwise, "\n".join(map(str, otherwise))
        assert rows[0], "nothing was copied"
        assert copied_files(ours, f"COPY item (qty, id) FROM '{folder / 'pairs.txt'}'")[0] == "58P01"


def test_files_with_names_are_copied_by_name(tarn: Tarn):
    """Parquet, Avro, ORC and JSON come by the names of their columns over every protocol, CSV in parts over PostgreSQL's."""
    import fastavro
    import pyarrow as pa
    import pyarrow.orc as orc
    import pyarrow.parquet as pq

    table = pa.table({"qty": pa.array([1, 2], pa.int32()), "id": pa.array([10, 20], pa.int64()), "name": ["a", None]})
    pq.write_table(table, tarn.project / "a.parquet")
    orc.write_table(table, str(tarn.project / "a.orc"))
    (tarn.project / "a.ndjson").write_text('{"name": "a", "id": 10, "qty": 1}\n{"id": 20, "qty": 2}\n')
    with (tarn.project / "a.avro").open("wb") as out:
        fields = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}, {"name": "qty", "type": "int"}]
        fastavro.writer(out, {"type": "record", "name": "R", "fields": fields}, table.to_pylist())
    tarn.query("CREATE SCHEMA shop")
    tarn.query("CREATE TABLE shop.item (id bigint, name text, qty int)")
    for name in ("a.parquet", "a.orc", "a.ndjson", "a.avro"):
        tarn.query(f"COPY shop.item FROM '{name}'")
        assert tarn.rows("SELECT * FROM shop.item ORDER BY id") == [[10, "a", 1], [20, None, 2]], name
        tarn.query("DELETE FROM shop.item")
    snapshots = tarn.value("SELECT count(*) FROM shop.item.snapshots")
    with connect(tarn) as ours:
        assert copied_files(ours, "COPY shop.item (id, qty) FROM 'a.parquet' (FORMAT parquet)") == "COPY 2"
        assert ours.execute("SELECT id, name, qty FROM shop.item ORDER BY id").fetchall() == [(10, None, 1), (20, None, 2)]
        assert tarn.value("SELECT count(*) FROM shop.item.snapshots") == snapshots + 1, "more than one commit"
        # Files of a folder, each with its header; a wrong line says in which of them it is, and nothing stays.
        folder = tarn.project / "parts"
        folder.mkdir()
        for part in range(3):
            (folder / f"{part}.csv").write_text("id,name,qty\n" + "".join(f"{part * 100 + n},x,{n}\n" for n in range(100)))
        assert copied_files(ours, "COPY shop.item FROM 'parts' (FORMAT csv, HEADER)") == "COPY 300"
        (folder / "3.csv").write_text("id,name,qty\n7,x,y\n")
        code, message, context = copied_files(ours, "COPY shop.item FROM 'parts' (FORMAT csv, HEADER)")
        assert code == "22P02" and "line 2, column qty" in context and "3.csv" in context, (message, context)
        assert ours.execute("SELECT count(*) FROM shop.item").fetchone() == (302,)
        for sql, code, words in [
            ("COPY shop.item FROM 'parts/0.csv'", "22023", "names of columns"),
            ("COPY shop.item FROM 'a.parquet' (FORMAT parquet, HEADER)", "42601", "header"),
            ("COPY shop.item FROM 'a.parquet' (FORMAT xml)", "22023", "xml"),
            ("COPY shop.item (nope) FROM 'a.parquet'", "42703", "nope"),
            ("COPY shop.nope FROM 'a.parquet'", "42P01", "nope"),
            (f"COPY shop.item FROM '{tarn.data}/meta.db' (FORMAT text)", "42501", "belongs to the server"),
        ]:
            answer = copied_files(ours, sql)
            assert answer[0] == code and words in answer[1], (sql, answer)
        with connect(tarn, autocommit=False) as careful:
            assert careful.execute("DELETE FROM shop.item").rowcount == 302
            assert copied_files(careful, "COPY shop.item (id, qty) FROM 'a.parquet'") == "COPY 2"
            careful.rollback()
        assert ours.execute("SELECT count(*) FROM shop.item").fetchone() == (302,)
        # psycopg's prepared statements go the other way through the protocol.
        assert ours.execute("COPY shop.item FROM 'parts/1.csv' (FORMAT csv, HEADER)", prepare=True).statusmessage == "COPY 100"
