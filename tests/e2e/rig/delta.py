"""Delta tables as others write and read them, and what no Python writer makes: deletion vectors, by the protocol."""

import json
import struct
import uuid
import zlib
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from .readers import _extension

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def duckdb_delta(path: object) -> pa.Table:
    """The newest version as DuckDB reads it."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "2"}) as connection:
        connection.execute(f"LOAD '{_extension('delta')}'")
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(f"SELECT * FROM delta_scan('{path}')").to_arrow_table()


def deltalake_table(path: object, version: int | None = None) -> pa.Table:
    return DeltaTable(str(path), version=version).to_pyarrow_table()


def z85(data: bytes) -> str:
    data += b"\0" * (-len(data) % 4)
    out = ""
    for (value,) in struct.iter_unpack(">I", data):
        out += "".join(Z85[value // 85**power % 85] for power in range(4, -1, -1))
    return out


def bitmap(rows: list[int]) -> bytes:
    """A RoaringBitmapArray: the magic number, then 64-bit Roaring in its portable form, of arrays only."""
    by_key: dict[int, dict[int, list[int]]] = {}
    for row in sorted(rows):
        by_key.setdefault(row >> 32, {}).setdefault(row >> 16 & 0xFFFF, []).append(row & 0xFFFF)
    out = struct.pack("<IQ", 1681511377, len(by_key))
    for key, containers in by_key.items():
        out += struct.pack("<III", key, 12346, len(containers))
        out += b"".join(struct.pack("<HH", high, len(values) - 1) for high, values in containers.items())
        start = 8 + 8 * len(containers)
        for values in containers.values():
            assert len(values) <= 4096, "an array holds no more"
            out += struct.pack("<I", start)
            start += 2 * len(values)
        out += b"".join(struct.pack(f"<{len(values)}H", *values) for values in containers.values())
    return out


class DeltaLog:
    """A table whose log is written by hand."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / "_delta_log"
        self.log.mkdir(parents=True, exist_ok=True)

    def version(self) -> int:
        return max(int(file.name[:20]) for file in self.log.glob("*.json"))

    def commit(self, *actions: dict) -> int:
        number = self.version() + 1 if any(self.log.glob("*.json")) else 0
        lines = [json.dumps({"commitInfo": {"timestamp": 1_700_000_000_000 + number, "operation": "TEST"}})]
        lines += [json.dumps(action) for action in actions]
        (self.log / f"{number:020}.json").write_text("\n".join(lines) + "\n", "utf-8")
        return number

    def actions(self) -> list[dict]:
        files = sorted(self.log.glob("*.json"))
        return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines() if line]

    def with_features(self, *features: str) -> None:
        self.commit({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": list(features),
                                  "writerFeatures": list(features)}})

    def live(self) -> list[dict]:
        found: dict = {}
        for action in self.actions():
            for kind in ("remove", "add"):
                if kind in action:
                    file = action[kind]
                    key = (file["path"], json.dumps(file.get("deletionVector")))
                    found.pop(key, None)
                    if kind == "add":
                        found[key] = file
        return list(found.values())

    def delete_rows(self, add: dict, rows: list[int], kind: str) -> None:
        """Marks rows of a file as deleted by a vector of a kind: `i` in the log, `u` beside the data, `p` by its whole path."""
        data = bitmap(rows)
        vector = {"storageType": kind, "sizeInBytes": len(data), "cardinality": len(rows)}
        if kind == "i":
            vector["pathOrInlineDv"] = z85(data)
        else:
            name = uuid.uuid4()
            folder = self.folder / ("xy" if kind == "u" else "")
            folder.mkdir(exist_ok=True)
            file = folder / f"deletion_vector_{name}.bin"
            framed = struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
            # Another vector stands before it.
            other = bitmap([0])
            before = b"\x01" + struct.pack(">I", len(other)) + other + struct.pack(">I", zlib.crc32(other))
            file.write_bytes(before + framed)
            vector["offset"] = len(before)
            vector["pathOrInlineDv"] = "xy" + z85(name.bytes) if kind == "u" else file.as_uri()
        kept = {name: add[name] for name in ("path", "partitionValues", "size")}
        stats = json.dumps({"numRecords": json.loads(add["stats"])["numRecords"], "tightBounds": False})
        self.commit(
            {"remove": {"path": add["path"], "deletionTimestamp": 1, "dataChange": True, "extendedFileMetadata": True}
             | {name: add[name] for name in ("partitionValues", "size", "deletionVector") if name in add}},
            {"add": kept | {"modificationTime": 1, "dataChange": True, "deletionVector": vector, "stats": stats}},
        )
