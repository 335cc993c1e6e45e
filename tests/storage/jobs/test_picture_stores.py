"""What every store of pictures does, in the folder and in a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engine.errors import MissingPicture, PicturesAway
from engine.files import bucket as buckets
from engine.files.bucket import BadBucketURL, BucketURL, open_store
from storage.errors import (
    BadPicturesURL,
    ChangedPicture,
    DatabaseFault,
    LostPicture,
    PicturesFault,
)
from storage.jobs.bucket_pictures import BucketPictures, open_pictures
from storage.jobs.picture_files import Pictures
from storage.records import Picture
from tests.object_store import CUT, HANG, Way

ONE, TWO = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two"))
NOTHING = "0" * 64


@pytest.fixture(params=["folder", "bucket"])
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pictures]:
    """Return an empty store of either kind."""
    url = request.getfixturevalue("bucket_url") if request.param == "bucket" else None
    store = open_pictures(tmp_path / "pictures", url)
    yield store
    store.close()


@pytest.fixture
def in_bucket(bucket_url: str, tmp_path: Path) -> Iterator[BucketPictures]:
    """Return an empty bucket."""
    store = open_pictures(tmp_path / "pictures", bucket_url)
    assert isinstance(store, BucketPictures)
    yield store
    store.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for a store that does not answer."""
    soon = (0.2, 0.2, 1)
    monkeypatch.setattr(buckets, "LIMITS", {buckets.IN_TIME: soon, buckets.PROMPTLY: soon})


def named(sha256: str) -> Picture:
    """Return the record of a picture."""
    return Picture(job=1, index=0, seed=1, width=8, height=8, size=3, sha256=sha256)


def test_what_was_added_is_read_and_listed(pictures: Pictures) -> None:
    assert [pictures.add(b"one"), pictures.add(b"two"), pictures.add(b"one")] == [ONE, TWO, ONE]
    assert sorted(pictures.all()) == sorted([ONE, TWO])
    assert (pictures.read(named(ONE)), pictures.fetch(TWO)) == (b"one", b"two")
    assert pictures.store.read(ONE) == b"one"
    assert {name: found.size for name, found in pictures.look([ONE, NOTHING]).items()} == {ONE: 3}


def test_what_was_added_is_opened(pictures: Pictures) -> None:
    pictures.folder.parent.mkdir(exist_ok=True)
    pictures.add(b"one")
    with pictures.open(named(ONE)) as file:
        assert (file.read(2), file.read()) == (b"on", b"e")
    with pytest.raises(LostPicture):
        pictures.open(named(TWO))


def test_a_folder_that_cannot_be_written_to_is_a_fault(in_bucket: BucketPictures) -> None:
    in_bucket.add(b"one")
    in_bucket.folder.parent.rmdir()
    with pytest.raises(DatabaseFault):
        in_bucket.open(named(ONE))


def test_what_is_not_there(pictures: Pictures) -> None:
    assert (pictures.get(ONE), pictures.has(ONE), list(pictures.all())) == (None, False, [])
    assert pictures.missing([ONE, TWO]) == [ONE, TWO]
    assert pictures.remove_old([ONE], 0) == 0
    for read in (pictures.fetch, pictures.store.read):
        with pytest.raises(MissingPicture):
            read(ONE)
    pictures.add(b"two")
    with pytest.raises(LostPicture, match="restore it there") as caught:
        pictures.read(named(ONE))
    assert not caught.value.passing


@pytest.mark.parametrize("state", ["missing", "empty", "unreadable"])
def test_a_folder_that_is_away_is_no_lost_picture(tmp_path: Path, state: str) -> None:
    pictures = Pictures(tmp_path / "pictures")
    if state == "empty":
        pictures.folder.mkdir()
    elif state == "unreadable":
        pictures.path(named(ONE)).mkdir(parents=True)  # as a disk that answers with errors
    for read in (pictures.read, pictures.open):
        with pytest.raises(PicturesFault, match="cannot be read") as caught:
            read(named(ONE))
        assert caught.value.passing
        assert not isinstance(caught.value, LostPicture)


def test_only_what_is_old_is_removed(pictures: Pictures) -> None:
    pictures.add(b"one")
    pictures.thumbnails.add(ONE, b"small")
    assert list(pictures.all(unused_for=3600)) == []
    assert pictures.remove_old([ONE, TWO], 3600) == 0
    assert pictures.thumbnails.get(ONE) == b"small"
    assert pictures.remove_old([ONE, TWO], 0) == 1
    assert (pictures.has(ONE), pictures.thumbnails.get(ONE)) == (False, None)


def test_a_small_copy_that_cannot_be_kept_is_no_fault(pictures: Pictures) -> None:
    pictures.thumbnails.folder.parent.mkdir(exist_ok=True)
    pictures.thumbnails.folder.write_bytes(b"no folder")
    pictures.thumbnails.add(ONE, b"small")
    pictures.thumbnails.remove([ONE])
    assert pictures.thumbnails.get(ONE) is None
    assert list(pictures.thumbnails.all()) == []


def test_a_bucket_counts_by_the_clock_of_its_store(in_bucket: BucketPictures, way: Way) -> None:
    in_bucket.add(b"one")
    way.ahead = timedelta(hours=2)
    assert list(in_bucket.all(unused_for=3600)) == [ONE]
    assert in_bucket.remove_old([ONE], 3600) == 1


def test_problems(pictures: Pictures) -> None:
    pictures.add(b"one")
    said = pictures.problems({ONE: 3, TWO: 3}, deep=True)
    assert [*said] == [TWO]
    assert said[TWO].endswith(" is missing")
    [problem] = pictures.problems({ONE: 4}, deep=False).values()
    assert problem.endswith(" has 3 bytes instead of 4")


def test_many_are_listed_page_by_page(
    in_bucket: BucketPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {in_bucket.add(b"%d" % number) for number in range(5)}
    client = in_bucket.bucket._client()
    whole = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **how: whole(**how, MaxKeys=2))
    assert sorted(in_bucket.all()) == sorted(names)


def test_objects_of_others_are_left_alone(in_bucket: BucketPictures, way: Way) -> None:
    for name in ("notes.png", f"{ONE[:2]}/{TWO}.png", f"x/{ONE[:2]}/{ONE}.png"):
        in_bucket.bucket.write(f"marble/{name}", b"other")
    in_bucket.bucket.write(f"{ONE[:2]}/{ONE}.png", b"above")
    assert list(in_bucket.all()) == []


def test_a_changed_object_is_never_given_out(in_bucket: BucketPictures) -> None:
    in_bucket.bucket.write(in_bucket.bucket.url.name_of(ONE), b"own")
    with pytest.raises(ChangedPicture, match="gives other bytes than were stored of 7692c3ad3540"):
        in_bucket.read(named(ONE))
    with pytest.raises(ChangedPicture):
        in_bucket.open(named(ONE))
    [problem] = in_bucket.problems({ONE: 3}, deep=True).values()
    assert "other bytes" in problem
    assert in_bucket.add(b"one") == ONE
    assert in_bucket.read(named(ONE)) == b"one"


def test_pictures_are_read_where_they_were_before(in_bucket: BucketPictures) -> None:
    Pictures(in_bucket.folder).add(b"one")
    in_bucket.add(b"two")
    assert sorted(in_bucket.all()) == sorted([ONE, TWO])
    assert (in_bucket.get(ONE), in_bucket.store.read(ONE)) == (b"one", b"one")
    assert in_bucket.missing([ONE, TWO]) == []
    assert in_bucket.remove_old([ONE, TWO], 0) == 2
    assert list(Pictures(in_bucket.folder).all()) == []


def test_a_picture_that_is_moved_between_two_looks_is_found(
    in_bucket: BucketPictures, way: Way
) -> None:
    before = Pictures(in_bucket.folder)
    before.add(b"one")

    def move(method: str, path: str) -> None:
        if method in ("GET", "HEAD") and before.has(ONE):  # after the answer that there is none
            way.asked.append(("moved", path))
            in_bucket.bucket.put(ONE, b"one")
            before.remove(ONE)

    way.fault = move
    assert in_bucket.has(ONE)
    assert in_bucket.get(ONE) == b"one"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (CUT, "cannot be reached"),
        (HANG, "cannot be reached"),
        ("503 SlowDown", "cannot be reached"),
        ("403 InvalidAccessKeyId", "refuses these keys (InvalidAccessKeyId): correct AWS_ACCESS"),
        ("404 NoSuchBucket", "does not exist: create the bucket"),
    ],
)
def test_each_fault_is_one_sentence_that_names_the_store(
    in_bucket: BucketPictures, way: Way, fault: str, why: str
) -> None:
    way.fault = lambda method, path: fault
    url = in_bucket.bucket.url
    for call in (
        lambda: in_bucket.add(b"one"),
        lambda: in_bucket.get(ONE),
        lambda: list(in_bucket.all()),
        lambda: in_bucket.remove(ONE),
    ):
        with pytest.raises(PicturesFault) as caught:
            call()
        said = str(caught.value)
        assert said.startswith(
            f"The picture store s3://{url.bucket}/marble at {way.endpoint} {why}"
        )
        assert "secret" not in said
        assert caught.value.passing
    with pytest.raises(PicturesAway, match="cannot be read at the moment"):
        in_bucket.store.read(ONE)


@pytest.mark.usefixtures("quick")
def test_nothing_of_a_picture_stays_that_is_cut_off(in_bucket: BucketPictures, way: Way) -> None:
    way.fault = lambda method, path: CUT if method == "PUT" else None
    with pytest.raises(PicturesFault):
        in_bucket.add(b"one")
    way.fault = lambda method, path: None
    assert not in_bucket.has(ONE)


def test_a_short_absence_is_not_noticed(in_bucket: BucketPictures, way: Way) -> None:
    left = [CUT, "500 InternalError"]
    way.fault = lambda method, path: left.pop() if left else None
    assert in_bucket.add(b"one") == ONE


def test_the_engine_reads_a_bucket_by_plain_values(
    in_bucket: BucketPictures, bucket_url: str
) -> None:
    in_bucket.add(b"one")
    Pictures(in_bucket.folder).add(b"two")
    store = open_store(in_bucket.folder, bucket_url)
    assert (store.read(ONE), store.read(TWO)) == (b"one", b"two")


def test_a_store_belongs_to_one_database(in_bucket: BucketPictures) -> None:
    assert in_bucket.owner() is None
    assert [in_bucket.claim(name) for name in ("a", "a", "b")] == [True, True, False]
    assert in_bucket.owner() == "a"


def test_urls() -> None:
    plain = BucketURL.parse("s3://pictures")
    assert (plain.where, plain.name_of(ONE)) == ("s3://pictures", f"{ONE[:2]}/{ONE}.png")
    full = BucketURL.parse("s3://K:a%2Fb@pictures/x/y/?endpoint=https://h:9000/&region=eu-1")
    assert full == replace(
        plain, prefix="x/y", endpoint="https://h:9000", region="eu-1", key="K", secret="a/b"
    )
    assert full.where == "s3://pictures/x/y at https://h:9000"
    assert "a/b" not in repr(full)


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://pictures/x", "s3://bucket/prefix, or"),
        ("s3:///x", "s3://bucket/prefix, or"),
        ("s3://Pictures", "s3://bucket/prefix, or"),
        ("s3://pictures/a/../b", "a prefix of letters"),
        ("s3://pictures/a//b", "a prefix of letters"),
        ("s3://key@pictures", "both keys"),
        ("s3://pictures?endpoint=host:9000", "an endpoint like https://host:port"),
        ("s3://pictures?regio=eu", "but no regio"),
        ("s3://pictures?endpoint", "s3://bucket/prefix, or"),
        ("s3://pictures?region=a b", "a region like eu-central-1"),
    ],
)
def test_a_wrong_url_is_one_sentence(url: str, right: str, tmp_path: Path) -> None:
    with pytest.raises(BadBucketURL, match=right):
        BucketURL.parse(url)
    with pytest.raises(BadPicturesURL, match=f"cannot be used: give file: or .*{right}"):
        open_pictures(tmp_path, url)


def test_a_missing_library_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(buckets, "import_module", missing)
    with pytest.raises(PicturesFault, match=r"needs botocore .*: `pip install 'marble\[s3\]'`"):
        open_pictures(tmp_path, "s3://pictures")
