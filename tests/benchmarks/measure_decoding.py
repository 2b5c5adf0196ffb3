"""Translates lines with one engine and measures it; test_decoding_speed.py starts it, in a process of its own.

    python measure_decoding.py '{"engine": "mtkit", ...}'

The fields of the job are those of `Job` there. The last line that it prints is a JSON object: the translations, their
tokens with EOS, the seconds that they took, the peak of the process's memory, and the decoder steps if those are known.
A job that takes turns prints an empty line when it is ready, then milliseconds a sentence for each line that it reads.
"""

import json
import re
import sys
import time
from pathlib import Path


class Mtkit:
    """mtkit, as the command `mtkit translate` loads it."""

    def __init__(self, job):
        from mtkit.cli.models import load_translator
        from mtkit.config.decoding import DecodingSection
        from mtkit.runtime.processors import wait_awake_briefly

        wait_awake_briefly()
        decoding = DecodingSection(
            beam_size=job["beam"],
            batch_size=job["batch"],
            batch_tokens=1 << 20,  # batches are of so many sentences, however long they are
            precision=job["precision"],
            length_penalty=job["length_penalty"],
            early_stopping=job["early_stopping"],
            max_length_ratio=1e-6,
            max_length_extra=job["max_length"] - 1,
        )
        self.translator = load_translator([Path(job["model"])], decoding, "cpu", job["threads"])
        self.steps = []
        self.beam = job["beam"]
        step = self.translator.model.decode_step

        def count_and_step(token_ids, state):
            self.steps.append(len(token_ids) // self.beam)
            return step(token_ids, state)

        if job["counts_steps"]:
            self.translator.model.decode_step = count_and_step
        elif job["batch"] > 1:
            self.translator.start_processes()  # those that count are not to miss what others do

    def translate(self, lines):
        self.steps.clear()
        found = list(self.translator.iter_translations(lines))
        return [one.text for one in found], sum(one.num_tokens for one in found)


class CTranslate2:
    """CTranslate2, with SentencePiece before and after it."""

    def __init__(self, job):
        sys.modules["torch"] = None  # CTranslate2 imports it to convert models only; it would count as its memory
        import ctranslate2
        import sentencepiece

        folder = Path(job["model"])
        self.translator = ctranslate2.Translator(
            job["model"],
            device="cpu",
            compute_type=job["precision"],
            inter_threads=job["inter_threads"],
            intra_threads=job["intra_threads"],
        )
        shared = folder / "shared.spm"
        files = (shared, shared) if shared.is_file() else (folder / "source.spm", folder / "target.spm")
        self.source, self.target = (sentencepiece.SentencePieceProcessor(str(file)) for file in files)
        self.options = {
            "beam_size": job["beam"],
            "max_batch_size": job["batch"],
            "batch_type": "examples",
            "length_penalty": job["length_penalty"],
            "max_decoding_length": job["max_length"],
            "min_decoding_length": 0,
        }
        self.steps = []

    def translate(self, lines):
        found = self.translator.translate_batch(self.source.encode(lines, out_type=str), **self.options)
        hypotheses = [one.hypotheses[0] for one in found]
        return self.target.decode(hypotheses), sum(len(tokens) + 1 for tokens in hypotheses)


def peak_mb():
    """Return the peaks of this process and of those that it started, together."""
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    statuses = [Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in ["self", *children]]
    return sum(int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) for status in statuses) / 1024


def main():
    job = json.loads(sys.argv[1])
    lines = Path(job["lines"]).read_text(encoding="utf-8").splitlines()[: job["count"]]
    engine = {"mtkit": Mtkit, "ctranslate2": CTranslate2}[job["engine"]](job)
    # The first products of a process lay out weights, choose kernels and claim memory: other text goes before.
    others = Path(job["warm_up"]).read_text(encoding="utf-8").splitlines()
    chunks = [[line] for line in lines] if job["batch"] == 1 else [lines]
    for warm_up in [[line] for line in others[:8]] if job["batch"] == 1 else [others]:
        engine.translate(warm_up)
    if job["takes_turns"]:
        print(flush=True)
        for _ in sys.stdin:
            started = time.perf_counter()
            for chunk in chunks:
                engine.translate(chunk)
            print(1000 * (time.perf_counter() - started) / len(lines), flush=True)
        return
    texts, num_tokens = [], 0
    started = time.perf_counter()
    for chunk in chunks:
        translations, tokens = engine.translate(chunk)
        texts += translations
        num_tokens += tokens
    seconds = time.perf_counter() - started
    steps = sum(engine.steps) if job["counts_steps"] and engine.steps else None
    print(json.dumps({"texts": texts, "tokens": num_tokens, "seconds": seconds, "mb": peak_mb(), "steps": steps}))


if __name__ == "__main__":
    main()
