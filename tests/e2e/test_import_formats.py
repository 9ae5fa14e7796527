"""Avro, ORC and Excel files that become tables: each value as other readers of the same files see it."""

import datetime
import decimal
import io
import json
import math
import os
import random
import re
import uuid
import zipfile

import fastavro
import openpyxl
import pyarrow as pa
import pyarrow.orc as orc
import pytest

from rig.bucket import KEY_ID, SECRET, BucketServer
from rig.process import wait_until
from rig.readers import readers
from rig.tarn import ApiError, Tarn
from test_import import ended, imported, plan_of, types

SEED = int(os.environ.get("TARN_SEED", random.SystemRandom().randrange(2**31)))
UTC = datetime.timezone.utc


def logical(kind: str, meaning: str, **more) -> dict:
    return {"type": kind, "logicalType": meaning} | more


EVERY_TYPE = {
    "type": "record", "name": "Every", "namespace": "shop", "fields": [
        {"name": "id", "type": "long"},
        {"name": "flag", "type": "boolean"},
        {"name": "small", "type": ["null", "int"]},
        {"name": "ratio", "type": "float"},
        {"name": "exact", "type": ["double", "null"]},
        {"name": "raw", "type": "bytes"},
        {"name": "text", "type": ["null", "string"]},
        {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 4}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OPEN", "PAID", "LOST"]}},
        {"name": "price", "type": ["null", logical("bytes", "decimal", precision=30, scale=4)]},
        {"name": "rate", "type": logical("fixed", "decimal", name="Rate", size=8, precision=18, scale=6)},
        {"name": "day", "type": logical("int", "date")},
        {"name": "clock", "type": logical("int", "time-millis")},
        {"name": "clock6", "type": logical("long", "time-micros")},
        {"name": "at", "type": ["null", logical("long", "timestamp-millis")]},
        {"name": "at6", "type": logical("long", "timestamp-micros")},
        {"name": "local", "type": logical("long", "local-timestamp-millis")},
        {"name": "local6", "type": logical("long", "local-timestamp-micros")},
        {"name": "key", "type": logical("string", "uuid")},
        {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
        {"name": "counts", "type": {"type": "map", "values": "long"}},
        {"name": "place", "type": ["null", {"type": "record", "name": "Place", "fields": [
            {"name": "city", "type": "string"},
            {"name": "inner", "type": {"type": "array", "items": {"type": "record", "name": "Point", "fields": [
                {"name": "x", "type": "double"}, {"name": "y", "type": ["null", "double"]}]}}}]}]},
        {"name": "wide", "type": ["null", "int", "long"]},
        {"name": "either", "type": ["null", "long", "string", "shop.Place"]},
    ],
}


def every_row(chance: random.Random, number: int) -> dict:
    maybe = lambda value: None if chance.random() < 0.2 else value
    word = lambda: chance.choice(["", "a", "数据平台", 'say "hi"', "line\nbreak", "é" * 40])
    moment = lambda tz: datetime.datetime(1, 1, 2, tzinfo=tz) + datetime.timedelta(milliseconds=chance.randrange(300_000_000_000_000))
    finer = lambda tz: moment(tz) + datetime.timedelta(microseconds=chance.randrange(1000))
    digits = lambda whole, scale: decimal.Decimal(chance.randrange(-10**whole + 1, 10**whole)).scaleb(-scale)
    place = lambda: {"city": word(), "inner": [{"x": chance.random(), "y": maybe(chance.random())} for _ in range(chance.randrange(3))]}
    with decimal.localcontext(prec=50):
        return {
            "id": number if number else -2**63,
            "flag": chance.random() < 0.5,
            "small": maybe(chance.randrange(-2**31, 2**31)),
            "ratio": chance.choice([0.5, -1.25, math.inf, 3e38]),
            "exact": maybe(chance.uniform(-1e300, 1e300)),
            "raw": bytes(chance.randrange(256) for _ in range(chance.randrange(6))),
            "text": maybe(word()),
            "code": bytes(chance.randrange(256) for _ in range(4)),
            "state": chance.choice(["OPEN", "PAID", "LOST"]),
            "price": maybe(digits(30, 4)),
            "rate": digits(18, 6),
            "day": datetime.date(1, 1, 1) + datetime.timedelta(chance.randrange(3_000_000)),
            "clock": datetime.time(chance.randrange(24), 59, 59, 999_000),
            "clock6": datetime.time(chance.randrange(24), 0, 1, 123_456),
            "at": maybe(moment(UTC)),
            "at6": finer(UTC),
            "local": moment(None),
            "local6": finer(None),
            "key": uuid.UUID(int=chance.getrandbits(128)),
            "tags": [maybe(word()) for _ in range(chance.randrange(4))],
            "counts": {f"k{n}": chance.randrange(-2**63, 2**63) for n in range(chance.randrange(3))},
            "place": maybe(place()),
            "wide": maybe(chance.choice([1, 2**40])),
            "either": chance.choice([None, chance.randrange(1000), word(), place()]),
        }


def as_table(row: dict) -> dict:
    """What a table holds of it."""
    out = dict(row)
    out["either"] = None if row["either"] is None else json.loads(json.dumps(row["either"]))
    return out


def seen(row: dict) -> dict:
    """A row of a reader in the forms of Python that it is compared in."""
    out = dict(row)
    out["either"] = None if row["either"] is None else json.loads(row["either"])
    out["counts"] = dict(row["counts"]) if row["counts"] is not None else None
    key = row["key"]
    out["key"] = key if isinstance(key, uuid.UUID) else uuid.UUID(bytes=key) if isinstance(key, bytes) else uuid.UUID(key)
    return out


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"])
def test_every_type_and_codec_of_avro(tarn: Tarn, codec: str):
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    rows = [every_row(chance, number) for number in range(400 if codec == "null" else 60)]
    file = tarn.project / "every.avro"
    try:
        with file.open("wb") as out:
            fastavro.writer(out, fastavro.parse_schema(EVERY_TYPE), rows, codec=codec, sync_interval=2_000)
    except ValueError as missing:
        pytest.fail(f"the writer lacks a codec: {missing}")
    with file.open("rb") as back:
        rows = list(fastavro.reader(back))
    done = imported(tarn, "every.avro", "shop.every")
    assert done["report"]["verified"] is True and done["report"]["rows_read"] == len(rows), done
    ours = sorted((seen(row) for row in tarn.arrow("SELECT * FROM shop.every").to_pylist()), key=lambda row: row["id"])
    theirs = sorted((as_table(row) for row in rows), key=lambda row: row["id"])
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other, {name: (mine[name], other[name]) for name in mine if mine[name] != other[name]}
    found = types(done["plan"])
    assert found["price"] == "Decimal128(30, 4)" and found["wide"] == "Int64", found
    reasons = {column["name"]: column["reason"] for column in done["plan"]["columns"]}
    assert "union of null, long, string, record" in reasons["either"] and "JSON text" in reasons["either"], reasons
    if codec == "null":
        same = {name: sorted(read("shop.every").column("id").to_pylist()) for name, read in readers(tarn).items()}
        assert all(ids == [row["id"] for row in theirs] for ids in same.values()), same.keys()


def test_the_dry_run_of_avro_and_files_that_differ(tarn: Tarn):
    folder = tarn.project / "events"
    for year, fields, rows in [
        (2023, [("id", "int"), ("name", "string")], [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
        (2024, [("id", "long"), ("extra", "double")], [{"id": 2**40, "extra": 1.5}]),
    ]:
        (folder / f"year={year}").mkdir(parents=True)
        schema = {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields]}
        with (folder / f"year={year}" / "part.avro").open("wb") as out:
            fastavro.writer(out, schema, rows)
    said = tarn.ok("import", "events", "--into", "shop.event", "--dry-run")
    for part in ("avro", "Int64", "year", "`extra` is not in all files", "nothing was imported"):
        assert part in said, said
    done = imported(tarn, "events", "shop.event")
    assert done["report"]["verified"] is True, done
    assert tarn.rows("SELECT id, name, extra, year FROM shop.event ORDER BY id") == [
        [1, "a", None, 2023], [2, "b", None, 2023], [2**40, None, 1.5, 2024]]
    again = imported(tarn, "events", "shop.event", mode="replace")
    assert again["report"]["verified"] is True and again["report"]["rows_read"] == 3, again
    with (folder / "year=2024" / "other.avro").open("wb") as out:
        fastavro.writer(out, {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}]}, [{"id": "x"}])
    with pytest.raises(ApiError) as refused:
        plan_of(tarn, "events")
    assert "other.avro" in str(refused.value) and "year=2023/part.avro" in str(refused.value), str(refused.value)
    assert tarn.rows("SELECT count(*) FROM read_avro('events/year=2023/')") == [[2]]
    assert tarn.rows("SELECT sum(id) FROM read_files('events/year=2023/part.avro')") == [[3]]


def test_damaged_avro_says_where(tarn: Tarn):
    schema = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "string"}]}
    file = tarn.project / "n.avro"
    with file.open("wb") as out:
        fastavro.writer(out, schema, [{"n": n, "t": f"row {n}"} for n in range(20_000)], codec="deflate", sync_interval=4_000)
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xff
    for name, content, words in [
        ("cut.avro", whole[: len(whole) // 2], "the file ends within it"),
        ("flip.avro", bytes(damaged), "block "),
        ("none.avro", b"PAR1" + whole, "no Avro file"),
        ("lzma.avro", whole.replace(b"\x0edeflate", b"\x0elz4-own", 1), "codec `lz4-own`"),
    ]:
        (tarn.project / name).write_bytes(content)
        try:
            failed = imported(tarn, name, f"shop.{name.split('.')[0]}")
            assert failed["state"] == "failed", failed
            said = failed["error"]["message"]
        except ApiError as refused:
            said = str(refused)
        assert words in said and name in said, said
    # A number beyond its digits is a problem of its row; the others come.
    wide = {"type": "record", "name": "R", "fields": [{"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 0}}]}
    (tarn.project / "wide.avro").write_bytes(avro_file(json.dumps(wide).encode(), [b"\x08" + n.to_bytes(4, "big") for n in (1, 123456, 2)]))
    kept = imported(tarn, "wide.avro", "shop.wide", on_error="quarantine")
    assert kept["report"]["rows_read"] == 2 and kept["report"]["problems"] == 1, kept
    problem = tarn.api("GET", f"/imports/{kept['id']}/problems")["items"][0]
    assert problem["line"] == 2 and "more than 4 digits" in problem["reason"] and '"d"' in problem["record"], problem


def avro_file(schema: bytes, records: list[bytes]) -> bytes:
    """A file as the specification says it, of records that are encoded already."""
    def number(value: int) -> bytes:
        value, out = (value << 1) ^ (value >> 63), b""
        while value > 0x7f:
            out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
        return out + bytes([value])

    text = lambda content: number(len(content)) + content
    sync, data = bytes(range(16)), b"".join(records)
    header = b"Obj\x01" + number(1) + text(b"avro.schema") + text(schema) + number(0) + sync
    return header + number(len(records)) + number(len(data)) + data + sync


def test_avro_comes_once_over_kills(make_tarn):
    """Killed within one large file, the import goes on behind its last commit, and each record comes once."""
    tarn = make_tarn().start()
    total = 2_400_000
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]})
    with (tarn.project / "big.avro").open("wb") as out:
        fastavro.writer(out, schema, ({"n": n} for n in range(total)), codec="deflate", codec_compression_level=1)
    begun = tarn.api("POST", "/imports", {"path": "big.avro", "into": "shop.big"})["id"]

    def committed():
        now = tarn.api("GET", f"/imports/{begun}")
        return now["progress"]["rows"] >= 1_100_000 or now["state"] != "running"

    wait_until("rows are committed", committed, 120)
    assert tarn.api("GET", f"/imports/{begun}")["state"] == "running", "the import was over before it could be killed"
    tarn.kill()
    tarn.start()
    done = ended(tarn, begun)
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert tarn.rows("SELECT count(*), count(DISTINCT n), sum(n) FROM shop.big") == [[total, total, total * (total - 1) // 2]]


def orc_table(chance: random.Random, rows: int) -> pa.Table:
    maybe = lambda value: None if chance.random() < 0.15 else value
    word = lambda: chance.choice(["", "a", "数据平台", "line\nbreak", "é" * 40])
    moment = lambda: datetime.datetime(1, 1, 2) + datetime.timedelta(microseconds=chance.randrange(300_000_000_000_000_000))
    column = lambda make, kind: pa.array([maybe(make()) for _ in range(rows)], kind)
    point = pa.struct([("x", pa.float64()), ("at", pa.timestamp("ns"))])
    return pa.table({
        "id": pa.array(range(rows), pa.int64()),
        "flag": column(lambda: chance.random() < 0.5, pa.bool_()),
        "tiny": column(lambda: chance.randrange(-128, 128), pa.int8()),
        "small": column(lambda: chance.randrange(-2**15, 2**15), pa.int16()),
        "mid": column(lambda: chance.randrange(-2**31, 2**31), pa.int32()),
        "big": column(lambda: chance.randrange(-2**63, 2**63), pa.int64()),
        "ratio": column(lambda: chance.choice([0.5, -1.25, math.inf]), pa.float32()),
        "exact": column(lambda: chance.uniform(-1e300, 1e300), pa.float64()),
        "text": column(word, pa.string()),
        "raw": column(lambda: bytes(chance.randrange(256) for _ in range(4)), pa.binary()),
        "price": column(lambda: decimal.Decimal(chance.randrange(-10**17, 10**17)).scaleb(-2), pa.decimal128(18, 2)),
        "wide": column(lambda: decimal.Decimal(chance.randrange(10**24)).scaleb(-6), pa.decimal128(38, 6)),
        "day": column(lambda: datetime.date(1900, 1, 1) + datetime.timedelta(chance.randrange(90_000)), pa.date32()),
        "local": column(lambda: datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=chance.randrange(9_000_000_000_000_000)), pa.timestamp("ns")),
        "old": column(lambda: datetime.datetime(1700, 1, 1) + datetime.timedelta(seconds=chance.randrange(9_000_000_000)), pa.timestamp("ns")),
        "at": column(lambda: datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(microseconds=chance.randrange(5_000_000_000_000_000)), pa.timestamp("ns", "UTC")),
        "tags": column(lambda: [maybe(word()) for _ in range(chance.randrange(4))], pa.list_(pa.string())),
        "counts": column(lambda: [(f"k{n}", chance.randrange(9)) for n in range(chance.randrange(3))], pa.map_(pa.string(), pa.int64())),
        "points": column(lambda: [{"x": chance.random(), "at": maybe(datetime.datetime(2000, 1, 1, 0, 0, 1))} for _ in range(chance.randrange(3))], pa.list_(point)),
    })


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "lz4", "zstd"])
def test_every_type_and_codec_of_orc(tarn: Tarn, compression: str):
    print(f"seed {SEED}")
    table = orc_table(random.Random(SEED), 30_000 if compression == "zlib" else 300)
    file = tarn.project / "every.orc"
    orc.write_table(table, str(file), compression=compression, stripe_size=64 * 1024, dictionary_key_size_threshold=0.8)
    theirs = orc.read_table(str(file)).to_pylist()
    done = imported(tarn, "every.orc", "shop.every")
    assert done["report"]["verified"] is True and done["report"]["rows_read"] == len(theirs), done
    ours = tarn.arrow("SELECT * FROM shop.every ORDER BY id").to_pylist()
    for mine, other in zip(ours, theirs, strict=True):
        differ = {name: (mine[name], other[name]) for name in other if plain(mine[name]) != plain(other[name])}
        assert not differ, differ
    seen_by = {name: read("shop.every").num_rows for name, read in readers(tarn).items()}
    assert set(seen_by.values()) == {len(theirs)}, seen_by
    assert tarn.value("SELECT count(*) FROM read_orc('every.orc') WHERE id % 2 = 0") == (len(theirs) + 1) // 2


def test_orc_that_would_be_read_wrongly_is_refused(tarn: Tarn):
    """Arrow's writer makes negative fractions of seconds before 1970, which readers take for something else."""
    old = pa.table({"at": pa.array([datetime.datetime(1969, 12, 31, 23, 59, 58, 250_000)], pa.timestamp("ns"))})
    orc.write_table(old, str(tarn.project / "old.orc"))
    with pytest.raises(ApiError) as refused:
        tarn.rows("SELECT * FROM read_orc('old.orc')")
    assert "negative fractions of seconds" in str(refused.value) and "old.orc" in str(refused.value), str(refused.value)


def plain(value):
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    # pandas' own moments compare with those of Python once they are such.
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def test_damaged_orc_never_stops_the_server(tarn: Tarn):
    """Cut anywhere and with bits flipped, a file is refused or read, and the server goes on."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    orc.write_table(orc_table(chance, 400), str(tarn.project / "a.orc"), compression="uncompressed")
    whole = (tarn.project / "a.orc").read_bytes()
    refused = 0
    for number in range(60):
        if number % 3 == 0:
            content = whole[: chance.randrange(1, len(whole))]
        else:
            content = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (tarn.project / "b.orc").write_bytes(content)
        try:
            tarn.rows("SELECT count(*), sum(mid), count(points) FROM read_orc('b.orc')")
        except ApiError as error:
            refused += 1
            assert error.status == 400 and "b.orc" in str(error), (number, str(error))
    assert refused >= 20, "cut files were read"
    assert tarn.value("SELECT count(*) FROM read_orc('a.orc')") == 400
    # The decoder may panic over what it cannot read; that was caught, and is no panic of ours.
    assert all("/orc-rust-" in line for line in tarn.panics()), tarn.panics()
    tarn.log.write_text(tarn.said().replace("panicked at", "was caught at"))


def test_orc_and_avro_of_a_bucket_in_parts(tarn: Tarn, bucket: BucketServer):
    """The third file begins where the second one was left, whatever the format."""
    rows = 40_000
    for name, begin in (("a", 0), ("b", rows)):
        table = pa.table({"n": pa.array(range(begin, begin + rows), pa.int64()), "t": [f"row {n}" for n in range(rows)]})
        orc.write_table(table, str(tarn.project / f"{name}.orc"), stripe_size=64 * 1024)
        with (tarn.project / f"{name}.avro").open("wb") as out:
            schema = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "string"}]}
            fastavro.writer(out, schema, table.to_pylist(), sync_interval=5_000)
        for ending in ("orc", "avro"):
            bucket.client.upload_file(str(tarn.project / f"{name}.{ending}"), "lake", f"{ending}/year=2024/{name}.{ending}")
    tarn.set_secret("lake_key", SECRET)
    s3 = {"endpoint": bucket.endpoint, "access_key_id": KEY_ID, "allow_http": True, "secret_access_key": {"secret": "lake_key"}}
    for ending in ("orc", "avro"):
        done = imported(tarn, f"s3://lake/{ending}/", f"shop.{ending}", s3=s3)
        assert done["report"]["verified"] is True, done
        assert tarn.rows(f"SELECT count(DISTINCT n), sum(n), min(year), count(t) FROM shop.{ending}") == [
            [2 * rows, rows * (2 * rows - 1), 2024, 2 * rows]]


def workbook(path, sheets: dict[str, list[list]], change=None) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    if change:
        change(book)
    book.save(path)


def changed(book: bytes, parts: dict[str, bytes]) -> bytes:
    """A workbook with other or more parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in {*old.namelist(), *parts}:
            new.writestr(name, parts.get(name, old.read(name) if name in old.namelist() else b""))
    return out.getvalue()


SHEET, TEXTS, RELATIONS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/_rels/workbook.xml.rels"


def with_shared_texts(book: bytes, texts: bytes | None = None) -> bytes:
    """As Excel writes it: each text once, some in runs of several fonts or with how it is pronounced."""
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        sheet, relations = parts.read(SHEET).decode(), parts.read(RELATIONS).decode()
    known: dict[str, int] = {}

    def shared(cell: re.Match) -> str:
        return f'<c r="{cell[1]}" t="s"><v>{known.setdefault(cell[2], len(known))}</v></c>'

    sheet = re.sub(r'<c r="(\w+)" t="inlineStr"><is>(.*?)</is></c>', shared, sheet, flags=re.S)
    assert known, "openpyxl writes texts in another way"

    def entry(text: str) -> str:
        first, rest = re.fullmatch(r"(<t[^>]*>[^&]?)(.*)</t>|<t[^>]*/>", text, flags=re.S).groups() if "</t>" in text else (None, None)
        if first is None:
            return f"<si>{text}</si>"
        runs = f'<r><rPr><b/></rPr>{first}</t></r><r><t xml:space="preserve">{rest}</t></r>'
        return f'<si>{runs}<rPh sb="0" eb="1"><t>sound</t></rPh></si>'

    texts = texts or ("<sst>" + "".join(map(entry, known)) + "</sst>").encode()
    more = '<Relationship Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml" Id="rId99" /></Relationships>'
    return changed(book, {SHEET: sheet.encode(), TEXTS: texts, RELATIONS: relations.replace("</Relationships>", more).encode()})


def test_a_workbook_becomes_a_table(tarn: Tarn):
    """Each value as openpyxl wrote it; the plan tells sheets and cells, and rows come as from the file by SQL."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    maybe = lambda value: None if chance.random() < 0.2 else value
    rows = [
        [
            number,
            maybe(chance.randrange(-2**50, 2**50)),
            maybe(chance.uniform(-1e12, 1e12)),
            maybe(chance.choice(["a", "数据平台", 'say "hi"', "line\nbreak", " padded ", "007", "<&>", "_x00"])),
            maybe(chance.random() < 0.5),
            maybe(datetime.date(1900, 1, 1) + datetime.timedelta(chance.choice([0, 58, 60]) + chance.randrange(100_000))),
            maybe(datetime.datetime(1950, 1, 1) + datetime.timedelta(seconds=chance.randrange(4_000_000_000))),
            maybe(datetime.time(chance.randrange(24), chance.randrange(60), 5)),
        ]
        for number in range(3_000)
    ]
    header = ["id", "whole", "ratio", "text", "flag", "day", "at", "clock"]
    # A date for each row that has one, so that the types do not hang on the first rows.
    workbook(tarn.project / "every.xlsx", {"Data": [header, *rows], "Other": [["x"], [1]]})
    seen = [row for row in openpyxl.load_workbook(tarn.project / "every.xlsx", data_only=True)["Data"].iter_rows(min_row=2, values_only=True)]
    done = imported(tarn, "every.xlsx", "shop.every")
    assert done["report"]["verified"] is True and done["report"]["rows_read"] == len(rows), done
    assert done["plan"]["format"] == "excel"
    assert done["plan"]["excel"] == {"sheet": "Data", "range": "A1:H", "header": True, "sheets": ["Data", "Other"]}, done["plan"]["excel"]
    found = types(done["plan"])
    assert found == {"id": "int64", "whole": "int64", "ratio": "float64", "text": "string", "flag": "boolean", "day": "date", "at": "timestamp", "clock": "string"}, found
    ours = tarn.arrow("SELECT * FROM shop.every ORDER BY id").to_pylist()
    for mine, other in zip(ours, seen, strict=True):
        theirs = dict(zip(header, other))
        theirs["day"] = theirs["day"] and theirs["day"].date()
        theirs["clock"] = theirs["clock"] and theirs["clock"].isoformat()
        # openpyxl reads a moment from a float; both are of whole seconds.
        theirs["at"] = theirs["at"] and (theirs["at"] + datetime.timedelta(milliseconds=500)).replace(microsecond=0)
        assert mine == theirs, {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
    assert tarn.rows("SELECT count(*), sum(id) FROM read_excel('every.xlsx')") == [[len(rows), sum(range(len(rows)))]]
    (tarn.project / "shared.xlsx").write_bytes(with_shared_texts((tarn.project / "every.xlsx").read_bytes()))
    assert tarn.arrow("SELECT * FROM read_excel('shared.xlsx') ORDER BY id").to_pylist() == ours
    assert tarn.rows("SELECT x FROM read_excel('every.xlsx', sheet => 'Other')") == [[1]]
    said = tarn.ok("import", "every.xlsx", "--into", "shop.other", "--sheet", "Other", "--dry-run")
    assert "sheet Other, cells A1:A, header" in said and "Data" in said, said


def test_parts_of_sheets_and_cells_that_are_no_values(tarn: Tarn):
    def change(book):
        sheet = book["Report"]
        sheet["A1"] = "Sales 2026"
        sheet.merge_cells("A1:C1")
        for row in [["item", "qty", "price"], ["a", 1, 1.5], [None, None, None], ["b", None, "#N/A"], ["c", 3, "#DIV/0!"]]:
            sheet.append(row)
        sheet["A8"], sheet["F9"] = "sum", "a note"
        sheet["B8"] = "=SUM(B3:B7)"
        book["Hidden"].sheet_state = "hidden"
        book["Hidden"]["A1"] = "never"

    workbook(tarn.project / "report.xlsx", {"Hidden": [], "Report": []}, change)
    plan = plan_of(tarn, "report.xlsx")
    assert plan["excel"]["sheet"] == "Report" and plan["excel"]["sheets"] == ["Hidden", "Report"], plan["excel"]
    assert "stands beside the columns" in str(plan["warnings"]), plan["warnings"]
    # The part that is a table: an empty row is none, `#N/A` is null, another error is a problem with its cell's row.
    chosen = {"sheet": "Report", "range": "A2:C6"}
    plan = plan_of(tarn, "report.xlsx", excel=chosen)
    assert types(plan) == {"item": "string", "qty": "int64", "price": "float64"} and plan["excel"]["range"] == "A2:C6", plan
    failed = imported(tarn, "report.xlsx", "shop.report", excel=chosen)
    assert failed["state"] == "failed" and "#DIV/0!" in str(failed), failed
    kept = imported(tarn, "report.xlsx", "shop.report", excel=chosen, on_error="quarantine")
    assert kept["report"]["rows_read"] == 2 and kept["report"]["problems"] == 1 and kept["report"]["verified"] is True, kept
    assert tarn.rows("SELECT item, qty, price FROM shop.report ORDER BY item") == [["a", 1, 1.5], ["b", None, None]]
    problem = tarn.api("GET", f"/imports/{kept['id']}/problems")["items"][0]
    assert problem["line"] == 6 and "`price`" in problem["reason"] and "#DIV/0!" in problem["record"], problem
    assert tarn.rows("SELECT * FROM read_excel('report.xlsx', range => 'A3:B3', header => false)") == [["a", 1]]
    # Without names, columns are numbered, also those that the first row lacks.
    workbook(tarn.project / "bare.xlsx", {"S": [[1, "a"], [2, "b", 2.5]]})
    assert tarn.rows("SELECT column_1, column_2, column_3 FROM read_excel('bare.xlsx') ORDER BY 1") == [[1, "a", None], [2, "b", 2.5]]
    for request, words in [
        ({"excel": {"sheet": "Nope"}}, "name one of its sheets: `Hidden`, `Report`"),
        ({"excel": {"range": "C9:A1"}}, "no range of cells"),
        ({"excel": {"sheet": "Report", "range": "M50"}}, "holds nothing"),
        ({"excel": {"page": 1}}, "page"),
    ]:
        with pytest.raises(ApiError) as refused:
            plan_of(tarn, "report.xlsx", **request)
        assert words in str(refused.value), str(refused.value)


def test_workbooks_of_a_folder_come_by_the_names_of_their_columns(tarn: Tarn):
    folder = tarn.project / "months"
    for month, header in [(1, ["id", "amount"]), (2, ["amount", "id"])]:
        (folder / f"month={month}").mkdir(parents=True)
        rows = [[n, n / 4] if month == 1 else [n / 4, n] for n in range(month * 100, month * 100 + 50)]
        workbook(folder / f"month={month}" / "a.xlsx", {f"S{month}": [header, *rows]})
    done = imported(tarn, "months", "shop.month")
    assert done["report"]["verified"] is True and done["plan"]["excel"]["sheet"] == "S1", done
    assert tarn.rows("SELECT month, count(*), sum(id), sum(amount) FROM shop.month GROUP BY month ORDER BY month") == [
        [1, 50, 6225, 1556.25], [2, 50, 11225, 2806.25]]
    # Types of a table that is there count more than those found.
    tarn.query("CREATE TABLE shop.typed (id int, amount decimal(10, 2), month int)")
    again = imported(tarn, "months", "shop.typed", mode="append")
    assert again["report"]["verified"] is True and tarn.value("SELECT sum(amount) FROM shop.typed") in ("4362.50", 4362.5), again


def refusal(tarn: Tarn, name: str) -> tuple[int, str]:
    try:
        return 200, str(plan_of(tarn, name))
    except ApiError as error:
        return error.status, str(error)


def test_workbooks_that_cannot_be_read_say_why(make_tarn):
    tarn = make_tarn()
    (tarn.project / "tarn.toml").write_text('[ingest]\nworkbook_max = "200kB"\n')
    tarn.start()
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    workbook(tarn.project / "a.xlsx", {"S": [["n", "t"], *[[n, f"text {n % 7}"] for n in range(200)]]})
    whole = (tarn.project / "a.xlsx").read_bytes()

    head = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    for name, content, words in [
        ("old.xls", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "save it as `.xlsx`"),
        ("cut.xlsx", whole[: len(whole) // 2], "is it cut?"),
        ("text.xlsx", b"id,name\n1,a\n", "no Excel workbook"),
        ("large.xlsx", os.urandom(300_000), "workbook_max"),
        # Little that becomes much: texts, one text without an end, and cells far away.
        ("texts.xlsx", with_shared_texts(whole, b"<sst>" + b"<si/>" * 2_000_000 + b"</sst>"), "of memory; save the sheet"),
        ("endless.xlsx", changed(whole, {SHEET: head + b'<row r="1"><c r="A1" t="inlineStr"><is><t>' + b"x" * 50_000_000}), "longer than it may be"),
        ("far.xlsx", changed(whole, {SHEET: head + b'<row r="1"><c r="XFD1"><v>1</v></c></row><row r="1048577"></row></sheetData></worksheet>'}), "no right number"),
        ("order.xlsx", changed(whole, {SHEET: head + b'<row r="2"><c r="B2"><v>1</v></c><c r="A2"><v>1</v></c></row>'}), "row 2 has no right name"),
        ("word.xlsx", changed(whole, {SHEET: head + b'<row r="1"><c r="A1"><v>x</v></c></row></sheetData></worksheet>'}), "cell A1: `x` is no number"),
        ("shared.xlsx", changed(whole, {SHEET: head + b'<row r="1"><c r="A1" t="s"><v>99999</v></c></row></sheetData></worksheet>'}), "text 99999 is missing"),
    ]:
        (tarn.project / name).write_bytes(content)
        status, said = refusal(tarn, name)
        assert status == 400 and words in said and name in said, (name, said)
    read, shared = 0, with_shared_texts(whole)
    for _ in range(150):
        damaged, is_read = bytearray(shared), False
        for _ in range(chance.randrange(1, 5)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        (tarn.project / "b.xlsx").write_bytes(damaged)
        try:
            tarn.rows("SELECT count(*), sum(n) FROM read_excel('b.xlsx', header => true)")
            is_read = True
        except ApiError as error:
            assert error.status == 400, str(error)
        # Each part has a checksum, so that what is read is right.
        if is_read:
            read += 1
            assert tarn.rows("SELECT count(*), sum(n), min(t) FROM read_excel('b.xlsx', header => true)") == [[200, 19900, "text 0"]]
    print(f"{read} of 150 damaged workbooks were read")
    assert tarn.rows("SELECT count(*), sum(n) FROM read_excel('a.xlsx')") == [[200, 19900]]
    assert tarn.panics() == [], tarn.panics()


def test_a_workbook_comes_once_over_kills(make_tarn):
    tarn = make_tarn().start()
    total = 150_000
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("S")
    sheet.append(["n"])
    for n in range(total):
        sheet.append([n])
    book.save(tarn.project / "big.xlsx")
    begun = tarn.api("POST", "/imports", {"path": "big.xlsx", "into": "shop.big"})["id"]
    tarn.kill()
    tarn.start()
    done = ended(tarn, begun)
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert tarn.rows("SELECT count(*), count(DISTINCT n), sum(n) FROM shop.big") == [[total, total, total * (total - 1) // 2]]


def test_avro_that_asks_for_much_memory_is_refused(tarn: Tarn):
    """Lengths and counts of a file are looked at before any memory is taken for them."""
    def number(value: int) -> bytes:
        out, value = b"", (value << 1) ^ (value >> 63)
        while value > 0x7f:
            out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
        return out + bytes([value])

    record = lambda kind: json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}).encode()
    many = {"type": "array", "items": "null"}
    wide = {"type": "array", "items": ["null", {"type": "record", "name": "W", "fields": [{"name": f"f{n}", "type": "long"} for n in range(2_000)]}]}
    fixed = ["null", {"type": "fixed", "name": "F", "size": 2**31 - 1}]
    for name, schema, records, words in [
        ("long.avro", record("bytes"), [number(2**62)], "the data ends within a value"),
        ("negative.avro", record("string"), [number(-5)], "a length is -5"),
        ("many.avro", record(many), [number(2**60)], "more elements"),
        ("wide.avro", record(wide), [number(60_000) + b"\x00" * 60_000 + b"\x00"], "MiB of memory"),
        ("deep.avro", record(many).replace(b'"null"', b'{"type":"array","items":' * 99 + b'"long"' + b"}" * 99), [b"\x00"], "deep within each other"),
    ]:
        (tarn.project / name).write_bytes(avro_file(schema, records))
        with pytest.raises(ApiError) as refused:
            tarn.rows(f"SELECT count(a) FROM read_avro('{name}')")
        assert refused.value.status == 400 and words in str(refused.value) and name in str(refused.value), str(refused.value)
    # A fixed of 2 GiB that is null is a null.
    (tarn.project / "fixed.avro").write_bytes(avro_file(record(fixed), [b"\x00"] * 1000))
    assert tarn.rows("SELECT count(*), count(a) FROM read_avro('fixed.avro')") == [[1000, 0]]
    # 2^50 records that take no bytes.
    empty = avro_file(record("null"), [])
    sync = empty[-16:]
    (tarn.project / "records.avro").write_bytes(empty[: empty.rindex(b"\x00\x00" + sync)] + number(2**50) + b"\x00" + sync)
    with pytest.raises(ApiError) as refused:
        tarn.rows("SELECT count(*) FROM read_avro('records.avro')")
    assert "cannot hold them" in str(refused.value), str(refused.value)
    assert tarn.panics() == [], tarn.panics()
