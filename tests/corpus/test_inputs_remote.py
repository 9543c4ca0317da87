"""Text behind URLs: a web server with range requests, an S3-compatible one, and each of their failures in one line."""

import functools
import gzip
import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from talweg.corpus import inputs
from talweg.corpus.inputs import locate, remote
from talweg.corpus.strings import texts
from talweg.errors import InputError
from tests.corpus import servers
from tests.corpus.reading import documents, tolerant

pytest.importorskip("aiohttp")
TEXTS = [f"document {i} é" for i in range(300)]
LINES = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()


def parquet(path: Path) -> Path:
    """Three row groups of 100 texts each, beside a column that is much larger."""
    rng = np.random.default_rng(0)
    table = pa.table({"text": TEXTS, "large": [rng.bytes(10_000) for _ in TEXTS]})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=100)
    return path


@pytest.fixture
def web(tmp_path: Path) -> Iterator[servers.Web]:
    parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES[:5000]) + gzip.compress(LINES[5000:]))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(LINES))
    (tmp_path / "a.txt").write_bytes(b"one\n<|endoftext|>\ntwo\n")
    with servers.web(tmp_path) as facts:
        yield facts


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


def test_only_the_column_and_the_row_group_that_are_read_cross_the_wire(web: servers.Web, tmp_path: Path) -> None:
    size = (tmp_path / "a.parquet").stat().st_size
    (source,) = inputs.find([f"{web.url}/a.parquet"])
    assert web.sent["/a.parquet"] < 80_000 < size / 30  # the footer: pyarrow asks for the last 64 kB
    web.sent.clear()
    (batch,) = inputs.read(source, source.pieces[1])
    assert texts(batch.strings) == TEXTS[100:200]
    assert batch.rows.tolist() == list(range(100, 200))
    assert web.sent["/a.parquet"] < 10_000
    assert (source.bytes, source.rows, len(source.pieces)) == (size, 300, 3)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.parquet?download=true"])
def test_every_kind_is_read_from_the_web(web: servers.Web, name: str) -> None:
    assert documents(f"{web.url}/{name}") == TEXTS


def test_stretches_of_a_file_on_the_web(web: servers.Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "STRETCH", 1000)
    assert len(inputs.find([f"{web.url}/a.jsonl"])[0].pieces) == len(LINES) // 1000 + 1
    assert documents(f"{web.url}/a.jsonl") == TEXTS
    assert documents(f"{web.url}/a.txt") == ["one\n", "two\n"]


def test_a_server_without_ranges(web: servers.Web) -> None:
    web.ranges = False
    assert documents(f"{web.url}/a.jsonl") == TEXTS
    assert documents(f"{web.url}/a.jsonl.gz") == TEXTS
    with pytest.raises(InputError, match=r"a\.parquet: its server gives no parts of a file, which parquet needs"):
        inputs.find([f"{web.url}/a.parquet"])


def test_a_server_that_says_the_length_and_gives_no_ranges(web: servers.Web, tmp_path: Path) -> None:
    """As python -m http.server does: a small file comes whole all the same, parquet is refused in a person's words."""
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert documents(f"{url}/a.jsonl") == TEXTS
        with pytest.raises(InputError, match=r"a\.parquet: its server gives no parts of a file; download it first$"):
            inputs.find([f"{url}/a.parquet"])
        server.shutdown()


def test_a_damaged_file_on_the_web_is_told(web: servers.Web, tmp_path: Path) -> None:
    packed = gzip.compress(LINES * 20)
    (tmp_path / "b.jsonl.gz").write_bytes(packed[:-10])
    found, lost = tolerant(f"{web.url}/b.jsonl.gz")
    assert found == (TEXTS * 20)[: len(found)]
    assert len(found) > 300
    assert "the gzip stream is damaged (Truncated compressed stream); from there on nothing can be read" in lost[0]


@pytest.mark.parametrize("name", ["none.parquet", "none.jsonl"])
def test_what_is_not_on_the_web(web: servers.Web, name: str) -> None:
    with pytest.raises(InputError, match=rf"^{web.url}/{name} is not there; check its name"):
        inputs.find([f"{web.url}/{name}"])


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "access is refused .*; set credentials"), (401, "access is refused"), (500, "cannot be read .*500")],
)
def test_refusals_of_a_server(web: servers.Web, status: int, message: str) -> None:
    web.status = status
    with pytest.raises(InputError, match=message) as caught:
        inputs.find([f"{web.url}/a.jsonl"])
    assert "\n" not in str(caught.value)


def test_a_file_that_goes_away_is_no_damage(web: servers.Web) -> None:
    found = inputs.find([f"{web.url}/a.parquet", f"{web.url}/a.jsonl", f"{web.url}/a.jsonl.gz"])
    web.status = 503
    for source in found:
        with pytest.raises(InputError, match="503"):
            list(inputs.read(source, source.pieces[0], on_damage="skip"))


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=rf"http://127\.0\.0\.1:{port}/a\.parquet cannot be reached \(.*check the net"):
        inputs.find([f"http://127.0.0.1:{port}/a.parquet"])


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "READ_SECONDS", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(InputError, match="no answer in time; check the network"):
            inputs.find([f"http://127.0.0.1:{mute.getsockname()[1]}/a.jsonl"])


def test_a_client_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, url, extra in (
        ("s3fs", "s3://bucket/a.parquet", "s3"),
        ("gcsfs", "gs://bucket/a.parquet", "gs"),
        ("aiohttp", "https://127.0.0.1/a.parquet", "http"),
        ("huggingface_hub", "hf://datasets/a/b/c.parquet", "hf"),
        ("fsspec", "s3://bucket/a.parquet", "data"),
    ):
        hide(monkeypatch, module)
        with pytest.raises(InputError, match=rf'{url}: .*; pip install "talweg\[{extra}\]"'):
            inputs.find([url])


def hide(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    if module in ("s3fs", "gcsfs", "huggingface_hub"):
        known = importlib.import_module("fsspec.registry")._registry
        for name in ("s3", "gs", "hf"):
            monkeypatch.delitem(known, name, raising=False)
    for name in list(sys.modules):
        if name == module or name.startswith(f"{module}."):
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)


def test_a_hub_that_cannot_be_reached() -> None:
    pytest.importorskip("huggingface_hub")
    code = "from talweg.corpus import inputs; inputs.find(['hf://datasets/a/b/c.parquet'])"
    nowhere = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}  # read once, when the client is imported
    done = subprocess.run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True, timeout=60)
    assert "InputError: hf://datasets/a/b/c.parquet cannot be reached" in done.stderr.splitlines()[-1]


def test_a_file_system_that_nobody_knows() -> None:
    with pytest.raises(InputError, match=r"nothing://a/b\.parquet: no file system nothing:// is known"):
        inputs.find(["nothing://a/b.parquet"])


def test_memory_has_files_folders_and_patterns() -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    for i, name in enumerate(("one/b.jsonl", "one/a.jsonl", "one/deep/c.jsonl", "one/d.csv")):
        system.pipe(f"/talweg/{name}", json.dumps({"text": str(i)}).encode())
    try:
        assert documents("memory://talweg/one/a.jsonl") == ["1"]
        assert documents("memory://talweg/one") == ["1", "0", "2"]
        assert documents("memory://talweg/*/*.jsonl") == ["1", "0"]
        with pytest.raises(InputError, match="no file matches memory://talweg/x"):
            inputs.find(["memory://talweg/x*"])
        with pytest.raises(InputError, match=r"memory://talweg/none is not there"):
            inputs.find(["memory://talweg/none"])
    finally:
        system.rm("/talweg", recursive=True)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of an S3-compatible server, with files in folders."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with servers.s3() as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system: Any = remote.filesystem("s3://bucket")
        system.mkdir("talweg-test")
        path = parquet(tmp_path_factory.mktemp("s3") / "a.parquet")
        system.put(str(path), "talweg-test/data/a.parquet")
        system.pipe("talweg-test/data/more/b.jsonl.gz", gzip.compress(LINES))
        system.pipe("talweg-test/data/more/c.csv", b"no,text\n")
        yield "s3://talweg-test"
        system.clear_instance_cache()


def test_files_folders_and_patterns_of_s3(bucket: str) -> None:
    assert documents(f"{bucket}/data/a.parquet") == TEXTS
    assert documents(f"{bucket}/data") == TEXTS * 2
    assert documents(f"{bucket}/data/*/*.gz") == TEXTS
    assert [source.url for source in inputs.find([f"{bucket}/data", f"{bucket}/data/*.parquet"])] == [
        f"{bucket}/data/a.parquet",
        f"{bucket}/data/more/b.jsonl.gz",
    ]
    (source,) = inputs.find([f"{bucket}/data/a.parquet"])
    (batch,) = inputs.read(source, source.pieces[2])
    assert texts(batch.strings) == TEXTS[200:]


@pytest.mark.parametrize(
    "url", ["s3://no-such-bucket/a.parquet", "s3://no-such-bucket/*.parquet", "s3://no-such-bucket"]
)
def test_a_bucket_that_is_not_there(bucket: str, url: str) -> None:
    with pytest.raises(InputError, match=r"is not there; check its name|no file matches"):
        inputs.find([url])


def test_s3_without_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system: Any = remote.filesystem("s3://bucket")
    system.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"access is refused \(Unable to locate credentials\); set credentials: aws"):
        inputs.find([f"{bucket}/data/a.parquet"])
    system.clear_instance_cache()
