"""A web server with range requests and an S3-compatible one, in threads of the test."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class Web:
    """sent: bytes of content that crossed the wire, by path. ranges: whether parts of files are given."""

    url: str = ""
    sent: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    status: int = 0  # where not 0, the answer to everything


@contextmanager
def web(folder: Path) -> Iterator[Web]:
    facts = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = urlsplit(self.path).path
            file = folder / path.lstrip("/")
            status = facts.status or (200 if file.is_file() else 404)
            content = file.read_bytes() if status == 200 else b"no such file"
            size = len(content)
            asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and facts.ranges and status == 200:
                first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
                status, content = 206, content[first : last + 1]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            if facts.ranges:
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{size}"')
            else:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if not with_body:
                return
            facts.sent[path] = facts.sent.get(path, 0) + len(content)
            if facts.ranges:
                self.wfile.write(content)
            else:
                for at in range(0, len(content), 1000):
                    part = content[at : at + 1000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    facts.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield facts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def s3() -> Iterator[str]:
    """Yields the endpoint of an S3-compatible server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
