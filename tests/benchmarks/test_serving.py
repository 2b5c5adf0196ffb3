"""`mtkit serve` under load, on loopback:

    pytest -m benchmark -s tests/benchmarks/test_serving.py

Clients that ask again as soon as they are answered, each over one connection, sentence by sentence of Multi30k
test_2016_flickr: every answer is compared with that of `mtkit translate`. The same clients then ask a server that
translates one sentence at a time (`--batch-size 1`), and one client alone asks the first. The second test sends
malformed requests of all kinds: none may be answered with 500, and after them the server translates as before.

Environment variables, with their defaults:
    MTKIT_BENCHMARK_MODEL        see tests/benchmarks/conftest.py
    MTKIT_BENCHMARK_CLIENTS      clients at once (200)
    MTKIT_BENCHMARK_SECONDS      of each measurement (60)
    MTKIT_BENCHMARK_MALFORMED    malformed requests (10000)
    MTKIT_BENCHMARK_THREADS      threads of the server (all cores)
    MTKIT_BENCHMARK_ARGUMENTS    further arguments of `mtkit serve`, such as --beam-size 1
"""

import asyncio
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import pytest

NUM_SENTENCES = 500
UNFINISHED = b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{"  # and hangs up
HEAD = "POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def read_arguments():
    threads = os.environ.get("MTKIT_BENCHMARK_THREADS")
    given = shlex.split(os.environ.get("MTKIT_BENCHMARK_ARGUMENTS") or "")
    return ["--device", "cpu", *(["--threads", threads] if threads else []), *given]


@contextmanager
def serving(model, *arguments):
    """Run `mtkit serve`; yield its port; let it stop, which must go as it should."""
    command = [sys.executable, "-m", "mtkit", "serve", "--model", model, "--port", "0", *read_arguments(), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        line = process.stderr.readline().decode()
        assert " at http://127.0.0.1:" in line, line + process.stderr.read().decode()
        try:
            yield int(line.rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(90) == 143
            assert process.stderr.read() == b"terminated\n"


async def send(stream, request):
    """Send a request over a connection that is kept, and return status and body of the answer."""
    reader, writer = stream
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def build_request(text):
    body = json.dumps({"q": text, "source": "en", "target": "de"}).encode()
    return f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask_again_and_again(port, expected, seed, end, latencies, wrong):
    draw = random.Random(seed)
    stream = await asyncio.open_connection("127.0.0.1", port)
    sentences = list(expected)
    while time.monotonic() < end:
        sentence = draw.choice(sentences)
        started = time.monotonic()
        status, body = await send(stream, build_request(sentence))
        latencies.append(time.monotonic() - started)
        if status != 200 or json.loads(body) != {"translatedText": expected[sentence]}:
            wrong.append((status, body))
    stream[1].close()
    await stream[1].wait_closed()


def load(port, expected, num_clients, seconds):
    """Return latencies, wrong answers and sentences a second."""
    latencies, wrong = [], []

    async def run():
        end = time.monotonic() + seconds
        clients = [ask_again_and_again(port, expected, n, end, latencies, wrong) for n in range(num_clients)]
        await asyncio.gather(*clients)  # a request that is not answered never ends this

    started = time.monotonic()
    asyncio.run(run())
    return latencies, wrong, len(latencies) / (time.monotonic() - started)


def show(name, latencies, rate):
    ordered = sorted(latencies)
    p50, p95 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
    print(f"{name:<36} {len(ordered):>8,} {rate:>9.1f} {p50:>9,.0f} {p95:>9,.0f}", flush=True)


@pytest.fixture(scope="module")
def expected(multi30k_model, read_multi30k):
    """Sentences, and what `mtkit translate` makes of each."""
    sentences = list(dict.fromkeys(read_multi30k("test_2016_flickr.en", NUM_SENTENCES)))
    command = [sys.executable, "-m", "mtkit", "translate", "--model", multi30k_model, *read_arguments()]
    done = subprocess.run(command, input="\n".join(sentences) + "\n", capture_output=True, text=True, check=True)
    return dict(zip(sentences, done.stdout.splitlines(), strict=True))


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_many_clients(multi30k_model, expected):
    clients = int(os.environ.get("MTKIT_BENCHMARK_CLIENTS") or 200)
    seconds = float(os.environ.get("MTKIT_BENCHMARK_SECONDS") or 60)
    print(f"\n{'':<36} {'answers':>8} {'a second':>9} {'p50 (ms)':>9} {'p95 (ms)':>9}")
    rates = {}
    for name, num_clients, arguments in (
        (f"{clients} clients", clients, ()),
        (f"{clients} clients, one at a time", clients, ("--batch-size", "1")),
        ("1 client", 1, ()),
    ):
        with serving(multi30k_model, *arguments) as port:
            load(port, expected, num_clients, 1)  # warm
            latencies, wrong, rates[name] = load(port, expected, num_clients, seconds)
        show(name, latencies, rates[name])
        assert not wrong, wrong[:3]
    together, apart, _ = rates.values()
    print(f"translating together is {together / apart:.1f} times as fast")
    assert together > apart


def build_malformed(draw):
    """Return the bytes of a request that is wrong in some way."""
    good = {"q": "A dog runs.", "source": "en", "target": "de"}
    junk = [None, 0, -1, 1e999, True, "", "\ud800", "\0", [], {}, [None], ["a", {}], {"q": {}}, "x" * 30_000, 10**400]
    choice = draw.randrange(9)
    headers = {"Host": "x", "Content-Type": "application/json"}
    method, path = "POST", "/translate"
    body = json.dumps(good).encode()
    if choice == 0:  # a parameter of a wrong type or value
        names = [*good, "format", "alternatives", "alignment", "api_key"]
        body = json.dumps(good | {draw.choice(names): draw.choice(junk)}).encode()
        if json.loads(body).get("q") == good["q"]:  # it may have hit a parameter that is free: the language is wrong
            body = json.dumps(json.loads(body) | {"target": "xx"}).encode()
    elif choice == 1:  # JSON that is none, or nests deep
        body = draw.choice(
            [body[: draw.randrange(len(body))], b"[" * 9_999, b'{"q":' * 3_000, b"nul", b"", b"\xff\xfe"]
        )
    elif choice == 2:
        body = draw.randbytes(draw.randrange(300))
    elif choice == 3:  # a body of another type than it says
        kinds = [
            "text/plain",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "application/x-www-form-urlencoded",
        ]
        headers["Content-Type"] = draw.choice([*kinds, "application/json; charset=utf-99", "\x01", ";;;", "a/b" * 99])
        body = draw.choice([body, draw.randbytes(50), b"--\r\n\r\n--", b"%ff%00=%zz&&&==&q"])
    elif choice == 4:  # another method or path
        method, path = (
            draw.choice(["PUT", "DELETE", "PATCH", "TRACE"]),
            draw.choice(["/translate", "/detect", "/health"]),
        )
    elif choice == 5:
        path = draw.choice(
            ["/nothing", "/translate/", "//", "/%00", "/assets/%2e%2e/app.py", "/assets/x", "/?" + "a" * 999]
        )
    elif choice == 6:  # headers
        headers["Accept" if draw.random() < 0.5 else "Authorization"] = "x" * draw.randrange(3_000)
        body = b"{}"
    elif choice == 7:  # too large
        body = b'{"q": "' + b"x" * draw.choice([20_001, 400_000]) + b'", "source": "en", "target": "de"}'
    else:  # not HTTP
        return draw.choice([
            draw.randbytes(200) + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /translate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            UNFINISHED,
            b"GET / HTTP/9.9\r\n\r\n",
        ])  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def send_malformed(port, request):
    """Return the status of the answer, or what came in its place."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if request == UNFINISHED:
            await writer.drain()
            return "hung up"
        line = await asyncio.wait_for(reader.readline(), 30)
        return int(line.split()[1]) if line.startswith(b"HTTP/") else "no answer"
    except ConnectionError:
        return "no answer"
    finally:
        writer.close()


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_malformed_requests(multi30k_model, expected):
    count = int(os.environ.get("MTKIT_BENCHMARK_MALFORMED") or 10_000)
    draw = random.Random(1)
    requests = [build_malformed(draw) for _ in range(count)]
    statuses = Counter()

    async def work(port, pending):
        while pending:
            statuses[await send_malformed(port, pending.pop())] += 1

    async def run(port):
        await asyncio.gather(*(work(port, requests) for _ in range(50)))

    with serving(multi30k_model) as port:
        asyncio.run(run(port))
        print(f"\n{count:,} malformed requests: {dict(sorted(statuses.items(), key=str))}")
        assert not {500, 502} & set(statuses)
        assert sum(statuses.values()) == count
        _, wrong, _ = load(port, expected, 4, 2)
        assert not wrong
