"""Clients without keys of their own: keys for one table from a security token service, and signatures of single requests.

moto checks signatures and rights from the moment on that it is told to, so a wrong signature fails as on Amazon.
"""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore
import botocore.exceptions
import pyarrow as pa
import pytest
import requests
from botocore.config import Config
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.io.fsspec import S3V4RestSigner

from rig.bucket import BucketServer
from rig.readers import duckdb_with_extensions, open_duckdb
from rig.tarn import Tarn

ACCOUNT = "123456789012"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class TokenService:
    """Passes requests on to moto and keeps what was asked for."""

    def __init__(self, behind: str):
        asked = self.asked = []
        self.is_broken = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802 - the name that the library calls
                body = self.rfile.read(int(self.headers["content-length"]))
                asked.append({"form": dict(urllib.parse.parse_qsl(body.decode())), "authorization": self.headers["authorization"]})
                if service.is_broken:
                    self.send_response(403)
                    text = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
                else:
                    # The host is signed as well.
                    names = ("content-type", "authorization", "x-amz-date", "host")
                    answer = requests.post(behind, data=body, headers={name: self.headers[name] for name in names}, timeout=30)
                    self.send_response(answer.status_code)
                    text = answer.content
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def policies(self) -> list[dict]:
        return [json.loads(one["form"]["Policy"]) for one in self.asked]

    def close(self) -> None:
        self.server.shutdown()


class Cloud:
    """A bucket and a token service, the keys of the server, and a role."""

    def __init__(self, bucket: BucketServer):
        self.bucket = bucket
        options = {"endpoint_url": bucket.endpoint, "region_name": "us-east-1", "aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
        iam = boto3.client("iam", **options)
        iam.create_user(UserName="tarn")
        iam.put_user_policy(UserName="tarn", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
        key = iam.create_access_key(UserName="tarn")["AccessKey"]
        self.key_id, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
        self.role = iam.create_role(RoleName="lake", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName="lake", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
        self.tokens = TokenService(bucket.endpoint)
        # From now on each request must be signed with a key that is known.
        answer = requests.post(f"{bucket.endpoint}/moto-api/reset-auth", data="0", timeout=30)
        assert answer.ok, answer.text

    def configure(self, tarn: Tarn, *, role: bool = True, signing: bool = True) -> None:
        lines = [
            "[lakehouse.storage]", 'url = "s3://lake/warehouse"', f'endpoint = "{self.bucket.endpoint}"', 'region = "us-east-1"',
            f'access_key_id = "{self.key_id}"', f'secret_access_key = "{self.secret}"', "allow_http = true", "[lakehouse.delegation]",
            f'sts_endpoint = "{self.tokens.url}"', 'lifetime = "15m"', f"signing = {json.dumps(signing)}",
        ]
        if role:
            lines.append(f'role_arn = "{self.role}"')
        (tarn.project / "tarn.toml").write_text("\n".join(lines) + "\n")


@pytest.fixture
def cloud(bucket):
    cloud = Cloud(bucket)
    yield cloud
    cloud.tokens.close()


@pytest.fixture
def lake(make_tarn, cloud):
    """A server with an administrator, an editor and a viewer, and a table of three rows."""
    tarn = make_tarn(TARN_LOG="debug")
    cloud.configure(tarn)
    tarn.start()
    tarn.api("POST", "/access/users", {"name": "ada", "role": "admin", "password": "a long one for ada"})
    tarn.auth = ("ada", "a long one for ada")
    tarn.keys = {role: tarn.api("POST", "/access/keys", {"name": role, "role": role})["key"] for role in ("admin", "editor", "viewer")}
    tarn.key = tarn.keys["admin"]
    tarn.query("CREATE SCHEMA shop")
    tarn.query("CREATE TABLE shop.item (id BIGINT, name VARCHAR)")
    tarn.query("INSERT INTO shop.item VALUES (1, 'tea'), (2, 'pot'), (3, 'cup')")
    return tarn


def load(tarn: Tarn, who: str, mode: str, table: str = "item") -> dict:
    answer = requests.get(f"{tarn.iceberg}/v1/namespaces/shop/tables/{table}", timeout=60,
                          headers={"authorization": f"Bearer {tarn.keys[who]}", "x-iceberg-access-delegation": mode})
    assert answer.status_code == 200, answer.text
    return answer.json()


def catalog(tarn: Tarn, who: str, **properties: str) -> RestCatalog:
    return RestCatalog(who, uri=tarn.iceberg, token=tarn.keys[who], **properties)


def test_pyiceberg_reads_and_writes_with_keys_for_one_table(lake, cloud):
    table = catalog(lake, "editor").load_table("shop.item")
    assert table.scan().to_arrow().num_rows == 3
    table.append(pa.table({"id": pa.array([4], pa.int64()), "name": ["mug"]}))
    assert lake.value("SELECT count(*) FROM shop.item") == 4
    made = catalog(lake, "editor").create_table("shop.made", pa.schema([("id", pa.int64())]))
    made.append(pa.table({"id": pa.array([7], pa.int64())}))
    assert lake.rows("SELECT id FROM shop.made") == [[7]]
    assert catalog(lake, "viewer").load_table("shop.item").scan().to_arrow().num_rows == 4
    # Signed by the server's own key, for a quarter of an hour.
    assert all(cloud.key_id in one["authorization"] for one in cloud.tokens.asked)
    assert {one["form"]["DurationSeconds"] for one in cloud.tokens.asked} == {"900"}


def test_keys_are_for_one_table_and_viewers_read(lake, cloud):
    editor, viewer = load(lake, "editor", "vended-credentials"), load(lake, "viewer", "vended-credentials")
    place = editor["metadata"]["location"].removeprefix("s3://lake/")
    for result in (editor, viewer):
        config = result["config"]
        assert config["s3.access-key-id"] and config["s3.secret-access-key"] and config["s3.session-token"]
        assert config["s3.endpoint"] == cloud.bucket.endpoint and config["client.region"] == "us-east-1"
        assert result["storage-credentials"] == [{"prefix": f"s3://lake/{place}/", "config": config}]
        assert cloud.secret not in json.dumps(result) and cloud.key_id not in json.dumps(result)
    for policy, writes in zip(cloud.tokens.policies()[-2:], (True, False), strict=True):
        files, listing, _ = policy["Statement"]
        assert files["Resource"] == f"arn:aws:s3:::lake/{place}/*"
        assert ("s3:PutObject" in files["Action"]) == ("s3:DeleteObject" in files["Action"]) == writes
        assert listing["Condition"]["StringLike"]["s3:prefix"] == [f"{place}/*", f"{place}/"]
    # Kept while they live long enough, per caller; fresh ones come from the endpoint.
    count = len(cloud.tokens.asked)
    assert load(lake, "editor", "vended-credentials")["config"] == editor["config"] and len(cloud.tokens.asked) == count
    answer = requests.get(f"{lake.iceberg}/v1/namespaces/shop/tables/item/credentials", timeout=60,
                          headers={"authorization": f"Bearer {lake.keys['viewer']}"})
    assert answer.json()["storage-credentials"] == viewer["storage-credentials"], answer.text
    # Whoever asks for nothing gets nothing.
    assert "config" not in requests.get(f"{lake.iceberg}/v1/namespaces/shop/tables/item", timeout=60,
                                        headers={"authorization": f"Bearer {lake.keys['editor']}"}).json()
    said = lake.log.read_text(errors="replace")
    for secret in (cloud.secret, editor["config"]["s3.secret-access-key"], editor["config"]["s3.session-token"]):
        assert secret not in said


def test_a_token_service_that_refuses_is_told_without_its_words(lake, cloud):
    cloud.tokens.is_broken = True
    lake.query("CREATE TABLE shop.other (id BIGINT)")
    answer = requests.get(f"{lake.iceberg}/v1/namespaces/shop/tables/other", timeout=60,
                          headers={"authorization": f"Bearer {lake.keys['viewer']}", "x-iceberg-access-delegation": "vended-credentials"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (503, "ServiceUnavailableException"), answer.text
    assert "not you" not in answer.text and cloud.role not in answer.text
    assert "not you" in lake.log.read_text(errors="replace")


def test_duckdb_reads_with_keys_from_the_catalog(lake):
    reader = Tarn(lake.project.parent)
    reader.running, reader.key = lake.running, lake.keys["viewer"]
    with open_duckdb(reader) as duck:
        assert duck.execute("SELECT count(*), min(name) FROM lake.shop.item").fetchone() == (3, "cup")


def test_duckdb_logs_in_with_client_credentials(lake):
    """OAuth2 as DuckDB does it: it asks the catalog for a token by itself."""
    secret = (f"CREATE SECRET login (TYPE iceberg, CLIENT_ID 'client', CLIENT_SECRET '{lake.keys['editor']}', "
              f"OAUTH2_SERVER_URI '{lake.iceberg}/v1/oauth/tokens', OAUTH2_SCOPE 'PRINCIPAL_ROLE:ALL')")
    with duckdb_with_extensions() as duck:
        duck.execute(secret)
        duck.execute(f"ATTACH 'main' AS lake (TYPE iceberg, ENDPOINT '{lake.iceberg}', SECRET login)")
        assert duck.execute("SELECT count(*) FROM lake.shop.item").fetchone() == (3,)
        duck.execute("INSERT INTO lake.shop.item VALUES (9, 'by duckdb')")
    assert lake.value("SELECT name FROM shop.item WHERE id = 9") == "by duckdb"


def signed_client(tarn: Tarn, cloud: Cloud, who: str, table: str = "item"):
    """boto3 without keys, whose requests PyIceberg's own signer has signed by the catalog."""
    config = load(tarn, who, "remote-signing", table)["config"]
    assert config["s3.remote-signing-enabled"] == "true" and "s3.secret-access-key" not in config
    signer = S3V4RestSigner({"uri": tarn.iceberg, "token": tarn.keys[who], **config})
    client = boto3.client("s3", endpoint_url=cloud.bucket.endpoint, region_name="us-east-1", config=Config(
        signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required", response_checksum_validation="when_required"))
    client.meta.events.register_last("before-sign.s3", signer)
    return client


def test_requests_below_the_table_are_signed_and_no_others(lake, cloud):
    lake.query("CREATE TABLE shop.other (id BIGINT)")
    place = load(lake, "editor", "")["metadata"]["location"].removeprefix("s3://lake/")
    other = load(lake, "editor", "", "other")["metadata-location"].removeprefix("s3://lake/")
    client = signed_client(lake, cloud, "editor")
    found = client.list_objects_v2(Bucket="lake", Prefix=f"{place}/")["Contents"]
    keys = [entry["Key"] for entry in found]
    assert any(key.endswith(".parquet") for key in keys) and any(key.endswith(".metadata.json") for key in keys)
    parquet = next(key for key in keys if key.endswith(".parquet"))
    assert client.get_object(Bucket="lake", Key=parquet, Range="bytes=0-3")["Body"].read() == b"PAR1"
    assert client.head_object(Bucket="lake", Key=parquet)["ContentLength"] > 100
    name = f"{place}/data/new file+ü.bin"
    client.put_object(Bucket="lake", Key=name, Body=b"hello", ContentType="text/plain")
    assert client.get_object(Bucket="lake", Key=name)["Body"].read() == b"hello"
    upload = client.create_multipart_upload(Bucket="lake", Key=name)["UploadId"]
    part = client.upload_part(Bucket="lake", Key=name, UploadId=upload, PartNumber=1, Body=b"in parts")
    client.complete_multipart_upload(Bucket="lake", Key=name, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert client.get_object(Bucket="lake", Key=name)["Body"].read() == b"in parts"
    client.delete_object(Bucket="lake", Key=name)
    for attempt in (
        lambda: client.get_object(Bucket="lake", Key=other),
        lambda: client.put_object(Bucket="lake", Key=other, Body=b"x"),
        lambda: client.delete_object(Bucket="lake", Key=other),
        lambda: client.get_object(Bucket="lake", Key=f"{place}/../{other}"),
        lambda: client.get_object(Bucket="lake", Key=f"{place}x/a"),
        lambda: client.get_object(Bucket="elsewhere", Key=parquet),
        lambda: client.list_objects_v2(Bucket="lake"),
        lambda: client.list_objects_v2(Bucket="lake", Prefix="warehouse/"),
        lambda: client.copy_object(Bucket="lake", Key=name, CopySource={"Bucket": "lake", "Key": other}),
        lambda: client.put_object_acl(Bucket="lake", Key=parquet, ACL="public-read"),
        lambda: client.put_object(Bucket="lake", Key=name, Body=b"x", ACL="public-read"),
        lambda: client.get_bucket_policy(Bucket="lake"),
        lambda: client.delete_objects(Bucket="lake", Delete={"Objects": [{"Key": other}]}),
    ):
        with pytest.raises(Exception, match="(?i)sign"):  # noqa: B017 - PyIceberg's and botocore's own
            attempt()
    assert other in cloud_keys(cloud), "somebody deleted it"
    viewer = signed_client(lake, cloud, "viewer")
    assert viewer.get_object(Bucket="lake", Key=parquet)["Body"].read(4) == b"PAR1"
    for attempt in (
        lambda: viewer.put_object(Bucket="lake", Key=name, Body=b"x"),
        lambda: viewer.delete_object(Bucket="lake", Key=parquet),
        lambda: viewer.create_multipart_upload(Bucket="lake", Key=name),
    ):
        with pytest.raises(Exception, match="(?i)sign"):  # noqa: B017
            attempt()


def cloud_keys(cloud: Cloud) -> list[str]:
    client = boto3.client("s3", endpoint_url=cloud.bucket.endpoint, region_name="us-east-1",
                          aws_access_key_id=cloud.key_id, aws_secret_access_key=cloud.secret)
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="lake")["Contents"]]


def test_moto_really_checks_signatures(cloud):
    """Without this the tests above would prove nothing."""
    client = boto3.client("s3", endpoint_url=cloud.bucket.endpoint, region_name="us-east-1",
                          aws_access_key_id=cloud.key_id, aws_secret_access_key="wrong" + cloud.secret[5:])
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch|Forbidden|403"):
        client.list_objects_v2(Bucket="lake")


@pytest.mark.parametrize(("line", "told"), [
    ('lifetime = "2h"', "15m to 1h"),
    ('role_arn = "lake"', "arn:aws:iam"),
    ('role = "x"', "role"),
])
def test_settings_that_cannot_be_stop_the_start(make_tarn, line, told):
    tarn = make_tarn()
    tarn.project.mkdir(parents=True, exist_ok=True)
    (tarn.project / "tarn.toml").write_text(f"[lakehouse.delegation]\n{line}\n")
    done = tarn.cli("up", "--no-browser", "--http", "127.0.0.1:0", "--pgwire", "off", "--flight", "off")
    assert done.returncode != 0 and told in done.stderr + done.stdout, done.stderr
