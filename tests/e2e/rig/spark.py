"""Spark with the Iceberg runtime, which `make test-spark` installs."""

import os

import pytest

from .tarn import Tarn

# The runtime comes from Maven Central once and is kept in Ivy's cache.
RUNTIME = "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0"


def open_spark(tarn: Tarn):
    """A session with the catalog as `tarn`. Where Spark is not installed the test is skipped."""
    pyspark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return (
        pyspark.SparkSession.builder.master("local[1]")
        .config("spark.jars.packages", RUNTIME)
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config("spark.sql.catalog.tarn", "org.apache.iceberg.spark.SparkCatalog")
        .config("spark.sql.catalog.tarn.type", "rest")
        .config("spark.sql.catalog.tarn.uri", tarn.iceberg)
        .config("spark.sql.catalog.tarn.cache-enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
