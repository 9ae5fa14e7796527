"""Iceberg tables as others make them, and the deletes that no Python writer makes, by the specification."""

import json
import struct
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.avro.file import AvroOutputFile
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import StaticTable, Table
from pyiceberg.typedef import Record

from .delta import bitmap
from .readers import duckdb_with_extensions

FIELD_ID = b"PARQUET:field_id"


def catalog_in(folder: Path) -> SqlCatalog:
    folder.mkdir(parents=True, exist_ok=True)
    return SqlCatalog("others", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder.as_uri())


def folder_of(table: Table) -> Path:
    return Path(table.location().removeprefix("file://"))


def newest_metadata(folder: Path) -> Path:
    return max((folder / "metadata").glob("*.metadata.json"), key=lambda file: int(file.name.split("-")[0].strip("v").split(".")[0]))


def duckdb_iceberg(metadata: Path) -> pa.Table:
    with duckdb_with_extensions() as connection:
        return connection.execute(f"SELECT * FROM iceberg_scan('{metadata}')").to_arrow_table()


class AnyManifest(ManifestWriterV2):
    def __init__(self, *arguments, version: int, content: ManifestContent):
        super().__init__(*arguments)
        self._version, self._content = version, content

    @property
    def version(self):
        return self._version

    def content(self):
        return self._content

    @property
    def _meta(self):
        return super()._meta | {"content": "data" if self._content == ManifestContent.DATA else "deletes"}

    def new_writer(self):
        return AvroOutputFile[ManifestEntry](
            output_file=self._output_file, file_schema=self._with_partition(self.version),
            record_schema=self._with_partition(self.version), schema_name="manifest_entry", metadata=self._meta)


class HandMade:
    """A table to which snapshots are added by writing its files."""

    def __init__(self, table: Table):
        self.folder = folder_of(table)
        self.io = PyArrowFileIO()
        self.metadata = newest_metadata(self.folder)
        self.count = 0

    def table(self) -> StaticTable:
        return StaticTable.from_metadata(self.metadata.as_uri())

    def data_files(self) -> list[DataFile]:
        snapshot = self.table().current_snapshot()
        return [entry.data_file for manifest in snapshot.manifests(self.io) if manifest.content == ManifestContent.DATA
                for entry in manifest.fetch_manifest_entry(self.io)]

    def positions(self, rows: dict[str, list[int]]) -> DataFile:
        """A file of positions, by the path of the data file."""
        pairs = sorted((path, position) for path, positions in rows.items() for position in positions)
        fields = [("file_path", pa.string(), 2147483546), ("pos", pa.int64(), 2147483545)]
        return self._file(fields, list(zip(*pairs, strict=True)), DataFileContent.POSITION_DELETES)

    def values(self, fields: list[tuple], rows: list[tuple], partition: tuple = ()) -> DataFile:
        """A file of values. `fields`: name, type, field id."""
        ids = [field[2] for field in fields]
        return self._file(fields, list(zip(*rows, strict=True)), DataFileContent.EQUALITY_DELETES, partition, equality_ids=ids)

    def vector(self, file: DataFile, rows: list[int]) -> DataFile:
        """A deletion vector, in a Puffin file."""
        data = bitmap(rows)
        blob = struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
        footer = json.dumps({"blobs": [{"type": "deletion-vector-v1", "fields": [], "snapshot-id": -1, "sequence-number": -1,
                                        "offset": 4, "length": len(blob),
                                        "properties": {"referenced-data-file": file.file_path, "cardinality": str(len(rows))}}]}).encode()
        whole = b"PFA1" + blob + b"PFA1" + footer + struct.pack("<I", len(footer)) + b"\0\0\0\0" + b"PFA1"
        self.count += 1
        path = self.folder / "data" / f"vector-{self.count}.puffin"
        path.write_bytes(whole)
        return DataFile.from_args(
            _table_format_version=3, content=DataFileContent.POSITION_DELETES, file_path=path.as_uri(), file_format=FileFormat.PUFFIN,
            partition=Record(), record_count=len(rows), file_size_in_bytes=len(whole), referenced_data_file=file.file_path,
            content_offset=4, content_size_in_bytes=len(blob))

    def elsewhere(self, path: Path) -> DataFile:
        """A data file that another folder holds."""
        return DataFile.from_args(
            _table_format_version=2, content=DataFileContent.DATA, file_path=path.as_uri(), file_format=FileFormat.PARQUET,
            partition=Record(), record_count=1, file_size_in_bytes=path.stat().st_size)

    def _file(self, fields: list[tuple], columns: list, content: DataFileContent, partition: tuple = (), **more) -> DataFile:
        schema = pa.schema([pa.field(name, kind, metadata={FIELD_ID: str(number)}) for name, kind, number in fields])
        self.count += 1
        path = self.folder / "data" / f"deletes-{self.count}.parquet"
        pq.write_table(pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema), path)
        return DataFile.from_args(
            _table_format_version=3, content=content, file_path=path.as_uri(), file_format=FileFormat.PARQUET, partition=Record(*partition),
            record_count=len(columns[0]), file_size_in_bytes=path.stat().st_size, **more)

    def commit(self, *files: DataFile, version: int = 2, content: ManifestContent = ManifestContent.DELETES) -> None:
        """A snapshot with further files, of deletes unless it is said otherwise."""
        table = self.table()
        before = table.current_snapshot()
        number = before.sequence_number + 1
        snapshot = before.snapshot_id + 1
        spec = table.spec()
        manifest = self.folder / "metadata" / f"deletes-{number}.avro"
        with AnyManifest(spec, table.schema(), self.io.new_output(manifest.as_uri()), snapshot, "deflate", version=version,
                         content=content) as writer:
            for file in files:
                writer.add_entry(ManifestEntry.from_args(
                    _table_format_version=version, status=ManifestEntryStatus.ADDED, snapshot_id=snapshot, sequence_number=None,
                    file_sequence_number=None, data_file=file))
        listed = self.folder / "metadata" / f"snap-{snapshot}.avro"
        with write_manifest_list(2, self.io.new_output(listed.as_uri()), snapshot, before.snapshot_id, number, "deflate") as writer:
            own = ManifestFile.from_args(
                manifest_path=manifest.as_uri(), manifest_length=manifest.stat().st_size, partition_spec_id=spec.spec_id,
                content=content, sequence_number=number, min_sequence_number=number, added_snapshot_id=snapshot,
                added_files_count=len(files), existing_files_count=0, deleted_files_count=0, added_rows_count=len(files),
                existing_rows_count=0, deleted_rows_count=0, partitions=None, key_metadata=None)
            writer.add_manifests([*before.manifests(self.io), own])
        document = json.loads(self.metadata.read_text())
        document["last-sequence-number"] = number
        document["current-snapshot-id"] = snapshot
        document["refs"]["main"]["snapshot-id"] = snapshot
        made = {"snapshot-id": snapshot, "parent-snapshot-id": before.snapshot_id, "sequence-number": number,
                "timestamp-ms": before.timestamp_ms + 1, "manifest-list": listed.as_uri(), "schema-id": document["current-schema-id"],
                "summary": {"operation": "delete"}}
        if version == 3:
            document["format-version"] = 3
            document["next-row-id"] = 1_000_000
            made |= {"first-row-id": 0, "added-rows": 0}
        document["snapshots"].append(made)
        document["snapshot-log"].append({"snapshot-id": snapshot, "timestamp-ms": made["timestamp-ms"]})
        document["last-updated-ms"] = made["timestamp-ms"]
        self.metadata = self.folder / "metadata" / f"{int(self.metadata.name.split('-')[0]) + 1:05}-by-hand.metadata.json"
        self.metadata.write_text(json.dumps(document))

