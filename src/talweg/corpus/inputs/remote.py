"""Files behind a URL, by way of fsspec: found, described and opened; what goes wrong there in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

from talweg.errors import InputError

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hf": "hf", "http": "http", "https": "http"}
CREDENTIALS = {
    "s3": "aws configure, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or FSSPEC_S3='{\"anon\": true}' if public",
    "gs": 'gcloud auth application-default login, or FSSPEC_GS=\'{"token": "anon"}\' for a public one',
    "hf": "hf auth login, or HF_TOKEN",
    "http": "put them into the URL, or download the file first",
}
CONNECT_SECONDS, READ_SECONDS = 20, 60  # our choice: longer than any answer of a server that is alive
BLOCK = 8 << 20  # bytes that are asked for at a time where a file is read from its beginning to its end


def is_url(name: str) -> bool:
    return "://" in name and not name.startswith("file://")


def protocol(url: str) -> str:
    return url.partition("://")[0]


def filesystem(url: str) -> Any:
    """fsspec's file system for a URL. Raises InputError where its client is not installed or nobody knows it."""
    name = protocol(url)
    try:
        import fsspec
    except ImportError:
        raise InputError(f'{url}: reading URLs needs fsspec; pip install "talweg[data]"') from None
    try:
        return fsspec.filesystem(name, **_options(name))
    except ImportError as error:
        extra = EXTRAS.get(name)
        what = f'pip install "talweg[{extra}]"' if extra else str(error).splitlines()[0]
        raise InputError(f"{url}: the client for {name}:// is not installed; {what}") from None
    except ValueError:
        raise InputError(f"{url}: no file system {name}:// is known; s3, gs, hf, https or a local path is") from None
    except Exception as error:  # of the client, while it looks for its settings
        raise failed(url, error) from None


def _options(name: str) -> dict[str, Any]:
    if name in ("http", "https"):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        return {"client_kwargs": {"timeout": limits}, "block_size": BLOCK}
    if name in ("s3", "s3a"):
        return {"config_kwargs": {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}}
    return {}


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Whatever a client raises here becomes an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each client has its own kinds
        raise failed(url, error) from None


def failed(url: str, error: BaseException) -> InputError:
    """What a client of a remote file system complains of, in one line that says what to do."""
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # fsspec's web client says so of whatever goes wrong
    kind, said = type(error).__name__, " ".join(str(error).split())[:200]
    code = _status(error)
    lower = f"{kind} {said}".lower()
    if code in (401, 403) or isinstance(error, PermissionError) or "credential" in lower or "forbidden" in lower:
        return InputError(f"{url}: access is refused ({said or kind}); set credentials: {_credentials(url)}")
    if code in (404, 410) or isinstance(error, FileNotFoundError) or "notfound" in kind.lower():
        return InputError(f"{url} is not there; check its name (a private one looks so too without credentials)")
    if isinstance(error, TimeoutError) or "timeout" in lower or "timed out" in lower:
        return InputError(f"{url}: no answer in time; check the network and the address, then run it again")
    if isinstance(error, ConnectionError) or "connect" in lower or "dns" in lower or "resolve" in lower:
        return InputError(f"{url} cannot be reached ({said or kind}); check the network and the address")
    if "range requests" in lower:
        return InputError(f"{url}: its server gives no parts of a file; download it first")
    return InputError(f"{url} cannot be read ({kind}: {said})" if said else f"{url} cannot be read ({kind})")


def _status(error: BaseException) -> int | None:
    """The status with which a server answered: each client has its own place for it."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore
        code = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        code = getattr(error, "status", None) or getattr(error, "code", None) or getattr(answer, "status_code", None)
    return code if isinstance(code, int) else None


def _credentials(url: str) -> str:
    return CREDENTIALS.get(EXTRAS.get(protocol(url), ""), "as its fsspec client wants them")


def matches(url: str) -> list[str] | None:
    """The files that a pattern matches, or that a folder holds to any depth, by name; None for a single file.

    A web server has no folders, and its question mark is a query's: only * is a pattern there.
    """
    system = filesystem(url)
    web = EXTRAS.get(protocol(url)) == "http"
    with translated(url):
        if any(character in url for character in ("*" if web else "*?[")):
            return sorted(
                str(system.unstrip_protocol(path)) for path in system.glob(url) if not _is_folder(system, path)
            )
        if web or system.isfile(url):
            return None
        if system.isdir(url):
            return sorted(str(system.unstrip_protocol(path)) for path in system.find(url))
    return None  # not there: describing it will say so


def _is_folder(system: Any, path: str) -> bool:
    return bool(system.info(path).get("type") == "directory")


def described(url: str) -> tuple[int | None, str]:
    """Bytes of a file (None: the server does not say), and a stamp that changes when the file does."""
    system = filesystem(url)
    with translated(url):
        facts = system.info(url)
    size = facts.get("size")
    known = ("ETag", "etag", "md5Hash", "blob_id", "sha256", "LastModified", "last_modified", "mtime", "created")
    stamp = next((str(facts[name]) for name in known if facts.get(name)), "")
    return (None if size is None else int(size)), f"{size} {stamp.strip(chr(34))}".strip()


def opened(url: str, *, ranges: bool = False) -> IO[bytes]:
    """A file for reading, from its beginning to its end, or by ranges: then only what is asked for is fetched."""
    system = filesystem(url)
    with translated(url):
        file: IO[bytes] = system.open(url, "rb", **({"cache_type": "none"} if ranges else {"block_size": BLOCK}))
    return file


def suffix_path(url: str) -> str:
    """The path by whose end a URL's kind is known: that of a web address has no query."""
    return urlsplit(url).path if EXTRAS.get(protocol(url)) == "http" else url
