"""A queue whose server breaks, restarts or takes only so much; and a Redis behind TLS."""

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from queue_line import ANSWERS, REQUESTS, TOPICS, QueueLine, queue_line, wait_for, working
from services.redis_server import MISSING, RedisServer, is_installed
from services.server_thread import in_thread

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import DependencyUnavailable
from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.serving.queueing.streams import QueueStreams
from ferryman.settings import Settings

pytestmark = pytest.mark.skipif(not is_installed(), reason=MISSING)


@pytest.fixture
def line(tmp_path: Path, free_ports) -> Iterator[QueueLine]:
    with (
        RedisServer(tmp_path / "redis", free_ports(1)[0]) as redis,
        queue_line(redis, "", tmp_path / "home") as opened,
    ):
        yield opened


class Breaking(BaseHTTPRequestHandler):
    """A server that breaks off on one row, and scores others with 1."""

    protocol_version = "HTTP/1.1"
    asked: list[int]  # rows of each request

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"]
        self.asked.append(len(rows))
        if {"bad": 1} in rows:
            self.close_connection = True
            return
        body = json.dumps({"predictions": [1.0] * len(rows)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def breaking() -> Iterator[tuple[str, list[int]]]:
    """The address of such a server, and how many rows it was asked for, request by request."""
    handler = type("Handler", (Breaking,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}", handler.asked


def test_a_request_that_breaks_the_server_is_answered_in_the_end(
    line: QueueLine, breaking: tuple[str, list[int]]
) -> None:
    for name in ("a", "b", "bad", "c"):
        line.send(name, [{name: 1}])
    with working(line, breaking[0]):
        error = line.answer("bad")["error"]
        assert error["status"] == 500
        assert "no answer in 5 tries" in error["text"]
        for name in ("a", "b", "c"):
            assert line.answer(name)["predictions"] == [1.0]


def test_large_requests_are_not_asked_together(
    line: QueueLine, breaking: tuple[str, list[int]]
) -> None:
    url, asked = breaking
    sizes = {"many": [1500, 400, 101, 1], "wide": [3, 2, 1]}
    for kind, counts in sizes.items():
        row = {"a": "x" * 150_000 if kind == "wide" else ""}
        for place, count in enumerate(counts):
            line.send(f"{kind}-{place}", [row] * count)
    with working(line, url):
        for kind, counts in sizes.items():
            for place, count in enumerate(counts):
                assert len(line.answer(f"{kind}-{place}")["predictions"]) == count
    assert asked == [1900, 105, 3]


def test_a_server_that_restarts_under_load_is_waited_for(
    line: QueueLine, tmp_path: Path, free_ports, make_bundle
) -> None:
    port, admin_port = free_ports(2)
    settings = Settings(home=tmp_path / "own", serving_port=port, serving_admin_port=admin_port)
    bundle = make_bundle(settings.bundles_root)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        with ServingClient(main_endpoint(settings)) as client:
            where = {"bundle": str(bundle.folder), "digest": bundle.digest}
            client.load("tiny", version=1, epoch=1, **where)
        rows = {str(n): bundle.rows[n % 20] for n in range(2000)}
        line.send_all(rows)
        with working(line, main_endpoint(settings).url, replace(TOPICS, longest=10_000)):
            wait_for(lambda: line.client.xlen(ANSWERS) > 100)
            deployer.stop()
            assert line.client.xlen(REQUESTS) > 0
            deployer.start()
            wait_for(lambda: line.client.xlen(ANSWERS) == len(rows))
    finally:
        deployer.stop()
    answers = {answer["id"]: json.loads(answer["predictions"]) for answer in line.answers()}
    assert set(answers) == set(rows)
    for number in range(2000):
        assert answers[str(number)] == pytest.approx([bundle.outputs[number % 20]], abs=1e-5)


def test_a_redis_behind_tls_is_checked(tmp_path: Path, free_ports) -> None:
    authority = certificate(tmp_path)
    plain, port = free_ports(2)
    server = RedisServer(tmp_path / "redis", plain)
    files = ["--tls-cert-file", str(authority), "--tls-key-file", str(tmp_path / "key.pem")]
    server.start([*files, "--tls-port", str(port), "--tls-auth-clients", "no"])
    try:
        address = server.url.replace("redis://", "rediss://").replace(str(plain), str(port))
        known = parse_connection("queue", f"{address}?ssl_ca_certs={authority}")
        streams = QueueStreams(known, TOPICS, "worker")
        streams.prepare()
        assert streams.waiting() == 0
        streams.close()
        strange = QueueStreams(parse_connection("queue", address), TOPICS, "worker")
        with pytest.raises(DependencyUnavailable, match="certificate verify failed"):
            strange.prepare()
        strange.close()
    finally:
        server.kill()


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key beside it."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem"
