"""Pictures in a bucket of an S3-like object store: its URL, and the calls that Marble makes.

    s3://bucket/prefix
    s3://KEY:SECRET@bucket/prefix?endpoint=https://store.example:9000&region=eu-1

Objects are named like the files of the picture folder, `prefix/ab/abcd….png`. The library
(botocore, of the extra `s3`) is imported at the first call. All calls block and may be made from
several threads.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from engine.errors import MissingPicture, PicturesAway, first_line
from engine.files.stored import Found, PictureFolder, PictureStore

FORM: Final = "s3://bucket/prefix, or s3://bucket/prefix?endpoint=https://host:port&region=name"
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX: Final = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
NAME: Final = re.compile(r"(?P<shard>[0-9a-f]{2})/(?P<sha256>(?P=shard)[0-9a-f]{62})\.png")
AT_ONCE: Final = 16  # requests about one object each that are made at the same time
CONNECTIONS: Final = 2 * AT_ONCE
IN_TIME: Final = "in time"
PROMPTLY: Final = "promptly"  # where others wait meanwhile
# Seconds to connect, seconds without an answer, tries.
LIMITS: Final = {IN_TIME: (2.0, 10.0, 3), PROMPTLY: (1.0, 2.0, 1)}
MISSING: Final = ("404", "NoSuchKey", "NotFound")
KEYS: Final = (
    *("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    *("InvalidToken", "ExpiredToken", "AuthorizationHeaderMalformed"),
)


class BadBucketURL(ValueError):
    """A URL of a bucket cannot be used; the text says what would be right."""


class BucketFault(Exception):
    """A call failed; the text goes on after the name of the store: `cannot be reached …`."""


class ChangedObject(BucketFault):
    """An object's bytes are not those that were stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketURL:
    """Where pictures are in an object store; the keys are empty where the environment has them."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> BucketURL:
        """Read a URL; raises `BadBucketURL`."""
        try:
            parts = urlsplit(text)
            options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        except ValueError:
            raise BadBucketURL(FORM) from None
        login, _, bucket = parts.netloc.rpartition("@")
        key, _, secret = login.partition(":")
        prefix = parts.path.strip("/")
        endpoint = options.pop("endpoint", None)
        region = options.pop("region", None)
        if parts.scheme != "s3" or parts.fragment or not BUCKET.fullmatch(bucket):
            raise BadBucketURL(FORM)
        if prefix and (not PREFIX.fullmatch(prefix) or {".", ".."} & {*prefix.split("/")}):
            raise BadBucketURL("a prefix of letters, digits, -, _, . and / after the bucket")
        if bool(key) != bool(secret):
            raise BadBucketURL("both keys, s3://KEY:SECRET@bucket/prefix, or none")
        if options:
            raise BadBucketURL(f"endpoint and region after the ?, but no {min(options)}")
        if endpoint is not None and not re.fullmatch(r"https?://[\w.:\[\]-]+/?", endpoint):
            raise BadBucketURL("an endpoint like https://host:port")
        if region is not None and not re.fullmatch(r"[\w-]+", region):
            raise BadBucketURL("a region like eu-central-1")
        return cls(
            bucket=bucket,
            prefix=prefix,
            endpoint=endpoint and endpoint.rstrip("/"),
            region=region,
            key=unquote(key),
            secret=unquote(secret),
        )

    @property
    def where(self) -> str:
        """Return what names the store to people, without keys."""
        place = "/".join(filter(None, (self.bucket, self.prefix)))
        return f"s3://{place}" + (f" at {self.endpoint}" if self.endpoint else "")

    @property
    def root(self) -> str:
        """Return what the names of all objects begin with."""
        return f"{self.prefix}/" if self.prefix else ""

    def name_of(self, sha256: str) -> str:
        """Return the name of a picture's object."""
        return f"{self.root}{sha256[:2]}/{sha256}.png"


@dataclass(slots=True)
class Bucket:
    """The calls to an object store; each raises `BucketFault`."""

    url: BucketURL
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(AT_ONCE, "marble-bucket"), repr=False
    )

    def put(self, sha256: str, png: bytes) -> None:
        """Store a picture, whole or not at all; the store has checked the bytes on return."""
        self.write(self.url.name_of(sha256), png, "image/png")

    def write(self, name: str, content: bytes, kind: str = "text/plain") -> None:
        """Store an object."""
        # Every S3-like store checks this sum, not all know newer ones.
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        with self._faults():
            self._client().put_object(
                Bucket=self.url.bucket, Key=name, Body=content, ContentType=kind, ContentMD5=md5
            )

    def get(self, sha256: str) -> bytes | None:
        """Return a picture whose bytes are what its name says, None where there is none."""
        for _ in range(2):
            content = self.read(self.url.name_of(sha256))
            if content is None or hashlib.sha256(content).hexdigest() == sha256:
                return content
        raise ChangedObject(f"gives other bytes than were stored of {sha256[:12]}…: restore it")

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, None where there is none."""
        with self._faults() as found:
            answer = self._client().get_object(Bucket=self.url.bucket, Key=name)
            with answer["Body"] as body:
                found.append(bytes(body.read()))
        return found[0] if found else None

    def look(self, names: Iterable[str]) -> dict[str, Found]:
        """Return those of these pictures that are there; it is soon known if none can be told."""
        names = list(names)
        answers = self._pool.map(self._head, names)
        return {name: found for name, found in zip(names, answers, strict=True) if found}

    def all(self) -> Iterator[tuple[str, Found]]:
        """Yield every picture; objects of other names are none of ours."""
        more: dict[str, str] = {}
        while True:
            answer: Mapping[str, Any] = {}
            with self._faults():
                answer = self._client().list_objects_v2(
                    Bucket=self.url.bucket, Prefix=self.url.root, **more
                )
            now = _now(answer)
            for each in answer.get("Contents", ()):
                if named := NAME.fullmatch(each["Key"][len(self.url.root) :]):
                    age = (now - each["LastModified"]).total_seconds()
                    yield named["sha256"], Found(each["Size"], age)
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def remove(self, names: Iterable[str]) -> None:
        """Remove pictures; one that is gone is no error."""
        for _ in self._pool.map(lambda name: self.delete(self.url.name_of(name)), list(names)):
            pass

    def delete(self, name: str) -> None:
        """Remove an object."""
        with self._faults():
            self._client(PROMPTLY).delete_object(Bucket=self.url.bucket, Key=name)

    def probe(self) -> None:
        """Write, read, list and remove an object."""
        name, content = f"{self.url.root}marble-probe-{secrets.token_hex(8)}.txt", b"marble"
        self.write(name, content)
        try:
            if self.read(name) != content:
                raise ChangedObject("gives other bytes than were written a moment before")
            next(self.all(), None)
        finally:
            self.delete(name)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        for client in self._clients.values():
            client.close()

    def _head(self, sha256: str) -> Found | None:
        answer: Mapping[str, Any] = {}
        with self._faults():
            answer = self._client(PROMPTLY).head_object(
                Bucket=self.url.bucket, Key=self.url.name_of(sha256)
            )
        if not answer:
            return None
        age = (_now(answer) - answer["LastModified"]).total_seconds()
        return Found(answer["ContentLength"], age)

    def _client(self, limits: str = IN_TIME) -> Any:
        with self._lock:
            if limits not in self._clients:
                self._clients[limits] = _connect(self.url, *LIMITS[limits])
            return self._clients[limits]

    @contextmanager
    def _faults(self) -> Iterator[list[bytes]]:
        """Turn what the library raises into `BucketFault`; an object that is missing is none."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            yield []
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code not in MISSING:
                raise BucketFault(self._why(code, error)) from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise BucketFault(self._why(type(error).__name__, error)) from error

    def _why(self, code: str, error: Exception) -> str:
        if code == "NoSuchBucket":
            return f"does not exist: create the bucket {self.url.bucket}, or correct the URL"
        if code in KEYS:
            return (
                f"refuses these keys ({code}): correct AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, and let them list, read, write and delete there"
            )
        if "Credentials" in code:
            return "needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        detail = first_line(error).rstrip(".")
        return f"cannot be reached ({detail}): check its address, and that it runs"


@dataclass(frozen=True, slots=True)
class PictureBucket:
    """Read pictures in a bucket, or where they were before."""

    bucket: Bucket
    before: PictureStore

    def read(self, sha256: str) -> bytes:
        """Return a picture's bytes; blocks. Raises `MissingPicture` or `PicturesAway`."""
        try:
            found = self.bucket.get(sha256)
        except BucketFault as fault:
            try:
                return self.before.read(sha256)
            except MissingPicture:
                raise PicturesAway(f"{self.bucket.url.where} {fault}") from fault
        return self.before.read(sha256) if found is None else found


def open_bucket(text: str) -> Bucket:
    """Return the bucket of a URL without calling it; raises `BadBucketURL` or `BucketFault`."""
    url = BucketURL.parse(text)
    try:
        import_module("botocore.session")
    except ImportError as error:
        missing = f"needs botocore ({first_line(error)}): `pip install 'marble[s3]'`"
        raise BucketFault(missing) from None
    return Bucket(url)


def open_store(folder: Path | None, url: str | None) -> PictureStore:
    """Return where pictures are read: in a bucket and the folder they were in before, or there."""
    before = PictureFolder(folder)
    return PictureBucket(open_bucket(url), before) if url else before


def _connect(url: BucketURL, connect: float, answer: float, tries: int) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    config = Config(
        connect_timeout=connect,
        read_timeout=answer,
        retries={"mode": "standard", "total_max_attempts": tries},
        max_pool_connections=CONNECTIONS,
        s3={"addressing_style": "path" if url.endpoint else "auto"},
        # Stores other than Amazon's refuse what newer versions send by themselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return Session().create_client(
        "s3",
        config=config,
        endpoint_url=url.endpoint,
        region_name=url.region,
        aws_access_key_id=url.key or None,
        aws_secret_access_key=url.secret or None,
    )


def _now(answer: Mapping[str, Any]) -> datetime:
    """Return the store's own time, so that ages depend on no other clock."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)
