"""The memory of `mtkit translate` while a long stream goes through its standard input:

    pytest -m benchmark -s tests/benchmarks/test_decoding_memory.py

A one-layer model of random weights translates lines of 1 to 20 words, which differ in length at random. Resident memory
(VmRSS) may grow by less than 20 MB after line 50,000, by which time every buffer has met its longest batch. A stream of
less than twice as many lines is measured from its half on.

Environment variables, with their defaults:
    MTKIT_BENCHMARK_LINES      lines of the stream (300000)
    MTKIT_BENCHMARK_THREADS    threads of the translator (all cores)
    MTKIT_BENCHMARK_ARGUMENTS  further arguments of `mtkit translate` (--beam-size 2
                               --set decoding.max_length_ratio=1 --set decoding.max_length_extra=5)
"""

import os
import random
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

WORDS = ["the", "a", "dog", "cat", "man", "woman", "runs", "sees", "over", "street", "red", "that", "Zürich", "2016"]
MAX_GROWTH_MB = 20
FIRST_LINE = 50_000
ARGUMENTS = "--beam-size 2 --set decoding.max_length_ratio=1 --set decoding.max_length_extra=5"


def make_line(generator):
    return " ".join(generator.choices(WORDS, k=generator.randint(1, 20))) + "\n"


def feed(stream, count):
    """Write the lines, and leave the stream open: its end would end the process before it is measured."""
    generator = random.Random(1)
    for _ in range(0, count, 100):
        stream.write("".join(make_line(generator) for _ in range(100)).encode())
    stream.flush()


def resident_mb(process):
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


@pytest.mark.benchmark
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.timeout(4 * 3600)
def test_a_long_stream_takes_no_more_memory_than_a_short_one(model_folder, tmp_path):
    count = int(os.environ.get("MTKIT_BENCHMARK_LINES") or 300_000) // 1000 * 1000
    first = min(FIRST_LINE, count // 2)
    threads = os.environ.get("MTKIT_BENCHMARK_THREADS")
    arguments = [*shlex.split(os.environ.get("MTKIT_BENCHMARK_ARGUMENTS") or ARGUMENTS), "--device", "cpu"]
    arguments += ["--threads", threads] if threads else []
    command = [sys.executable, "-m", "mtkit", "translate", "--model", model_folder, *arguments]
    print(f"\n{count:,} lines, mtkit translate {shlex.join(arguments)}\n{'lines':>9} {'MB':>8} {'s':>6}")
    messages = tmp_path / "messages.txt"
    found = {}
    started = time.monotonic()
    with (
        messages.open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        writer = threading.Thread(target=feed, args=(process.stdin, count), daemon=True)
        writer.start()
        for number in range(1, count + 1):
            assert process.stdout.readline(), messages.read_text(encoding="utf-8")
            if number % (first // 5) == 0 or number == count:
                found[number] = resident_mb(process)
                print(f"{number:>9,} {found[number]:>8.1f} {time.monotonic() - started:>6.0f}", flush=True)
        writer.join()
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0, messages.read_text(encoding="utf-8")
    growth = found[count] - found[first]
    print(f"growth after line {first:,}: {growth:.1f} MB (less than {MAX_GROWTH_MB} required)")
    assert growth < MAX_GROWTH_MB
