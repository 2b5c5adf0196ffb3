import http.client
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from mtkit.config.decoding import DecodingSection
from mtkit.decoding.translator import Translator
from mtkit.serving.engine import Engine
from mtkit.serving.limits import Limits
from mtkit.serving.models import Models, ServedModel
from mtkit.serving.server import name_address, open_socket, serve
from mtkit.serving.service import Server


@pytest.fixture(autouse=True)
def use_one_thread(one_thread):
    """All tests of the server compute on one thread."""


@pytest.fixture(scope="session")
def translator(model_folder):
    """Translates as `mtkit translate` does."""
    return Translator.load(model_folder, device="cpu", decoding=DecodingSection(beam_size=4, max_length_extra=5))


@pytest.fixture(scope="session")
def make_server(translator):
    """Return a function that makes a server of en-de, de-en and pl-en (all the same weights), not yet running.

    `translate` stands in for the models' own translation.
    """
    directions = ("en", "de"), ("de", "en"), ("pl", "en")

    def make(translate=None, window=(64, 12_000), **fields):
        models = Models([ServedModel(source, target, "model", translator) for source, target in directions])
        limits = fields.pop("limits", Limits())
        engine = Engine(translate or models.translate, *window, limits.max_queue)
        return Server(models, engine, limits, **fields)

    return make


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


class Client:
    """Talks to a server."""

    def __init__(self, url):
        self.url = url
        parts = urlsplit(url)
        self.address = (parts.hostname, parts.port)

    def send(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path):
        return self.send("GET", path)

    def post(self, path, **fields):
        return self.send("POST", path, json.dumps(fields), {"Content-Type": "application/json"})

    def translate(self, q, **fields):
        return self.post("/translate", **{"q": q, "source": "en", "target": "de"} | fields)

    def connect(self, q):
        """Send a request and return its connection, without waiting for the answer."""
        body = json.dumps({"q": q, "source": "en", "target": "de"}).encode()
        head = f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        connection = socket.create_connection(self.address, timeout=20)
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        return connection


@contextmanager
def running(server):
    """Run a server on a free port of loopback, and yield a client."""
    listener = open_socket("127.0.0.1", 0)
    url = name_address(listener)
    thread = threading.Thread(target=serve, args=(server, listener))
    thread.start()
    try:
        yield Client(url)
    finally:
        server.is_stopping = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def run_server():
    """Return a function that runs a server until the test is over, and returns a client."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(running(server))


@pytest.fixture(scope="module")
def client(make_server):
    """A client of a server of en-de, de-en and pl-en."""
    with running(make_server()) as client:
        yield client


@pytest.fixture
def wait_until():
    """Return a function that waits until a condition holds."""

    def wait(condition, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.005)

    return wait


class Gate:
    """A translation of windows that waits until it may: puts a mark before each line."""

    def __init__(self):
        self.windows = []
        self.opened = threading.Event()

    def __call__(self, kind, lines):
        from mtkit.decoding.translation import Alternative, Translation

        self.windows.append([line.source for line in lines])
        assert self.opened.wait(20)
        for line in lines:
            if line.source == "fail":
                raise ValueError("on purpose")
            yield Translation(line.source, (Alternative(f"{kind.model}:{line.source}"),) * kind.n_best, 1)


@pytest.fixture
def gate():
    """A translation that stands still until `opened` is set."""
    gate = Gate()
    yield gate
    gate.opened.set()
