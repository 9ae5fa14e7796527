"""Tables in a bucket of a real S3 server."""

import signal

from rig.bucket import KEY_ID, SECRET
from rig.postgres import PASSWORD, cdc_source
from rig.readers import duckdb_table, open_pyiceberg, pyiceberg_table


def configure(tarn, bucket, **more: str) -> None:
    lines = {"url": "s3://lake/warehouse", "endpoint": bucket.endpoint, "region": "us-east-1", "access_key_id": KEY_ID,
             "secret_access_key": SECRET} | more
    text = "[lakehouse.storage]\nallow_http = true\n" + "".join(f'{key} = "{value}"\n' for key, value in lines.items())
    (tarn.project / "tarn.toml").write_text(text)


def test_a_source_fills_tables_in_a_bucket_and_others_read_them(postgres, database, make_tarn, bucket):
    tarn = make_tarn()
    configure(tarn, bucket)
    tarn.start()
    tarn.set_secret("shop_password", PASSWORD)
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id int PRIMARY KEY, name text)")
        connection.execute("INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 2000) n")
        tarn.write_resource("shop", cdc_source(postgres, database))
        tarn.ok("apply", "--yes")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 2000)
        connection.execute("UPDATE item SET name = 'changed' WHERE id <= 100")
        connection.execute("DELETE FROM item WHERE id > 1900")
        tarn.restart()
        connection.execute("INSERT INTO item VALUES (5000, 'last')")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item WHERE id = 5000", 1)
        expected = connection.execute("SELECT id, name FROM item ORDER BY id").fetchall()
    assert [tuple(row) for row in tarn.rows("SELECT id, name FROM shop.item ORDER BY id")] == expected
    tarn.ok("lakehouse", "flush", "shop.item")
    assert any(key.endswith(".parquet") for key in bucket.keys("warehouse/")), "nothing lies in the bucket"
    assert not list(tarn.data.rglob("*.parquet")), "tables lie in the data folder as well"
    host = bucket.endpoint.removeprefix("http://")
    secret = (f"CREATE SECRET bucket (TYPE s3, KEY_ID '{KEY_ID}', SECRET '{SECRET}', ENDPOINT '{host}', "
              "URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
    by_duckdb = duckdb_table(tarn, "shop.item", secret).sort_by("id").to_pylist()
    assert [tuple(row.values()) for row in by_duckdb] == expected
    keys = {"s3.endpoint": bucket.endpoint, "s3.access-key-id": KEY_ID, "s3.secret-access-key": SECRET, "s3.region": "us-east-1"}
    by_python = pyiceberg_table(tarn, "shop.item", **keys).sort_by("id").to_pylist()
    assert [tuple(row.values()) for row in by_python] == expected
    table = open_pyiceberg(tarn, **keys).load_table("shop.item")
    assert table.location().startswith("s3://lake/warehouse/")


def test_the_catalog_tells_clients_where_the_bucket_is_but_not_its_keys(make_tarn, bucket):
    tarn = make_tarn()
    configure(tarn, bucket)
    tarn.start()
    config = tarn.request("GET", "/iceberg/v1/config")
    assert config.json()["defaults"].get("s3.endpoint") == bucket.endpoint, config.text
    assert SECRET not in config.text


def test_a_store_that_is_away_delays_tables_and_loses_nothing(make_tarn, bucket):
    tarn = make_tarn()
    configure(tarn, bucket)
    tarn.start()
    tarn.apply("kind: source\nname: inbox\nspec: {type: http_push, key: [id]}")
    tarn.push("inbox", {"id": 1})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 1)
    # A stopped process accepts connections and does not answer, the worst that a network does.
    bucket.process.send_signal(signal.SIGSTOP)
    try:
        for number in range(2, 12):
            tarn.push("inbox", {"id": number})
        assert tarn.source("inbox")["rows_total"] >= 10
    finally:
        bucket.process.send_signal(signal.SIGCONT)
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 11)
    assert tarn.rows("SELECT id FROM inbox.inbox ORDER BY id") == [[number] for number in range(1, 12)]
