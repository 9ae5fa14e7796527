"""An S3 server on loopback."""

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import boto3

from .process import end, free_port, wait_until

KEY_ID, SECRET = "e2e-key-id", "e2e-secret-value"


class BucketServer:
    """moto's S3 server with one bucket, `lake`."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        with (folder / "moto.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(self.port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        wait_until("the S3 server answers", self._answers, 120)
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
        )
        self.client.create_bucket(Bucket="lake")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def close(self) -> None:
        end(self.process)
