import importlib.util
import os
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


def pytest_collection_modifyitems(config, items):
    """Leave benchmarks out unless they are asked for: `-m benchmark`."""
    if "benchmark" in (config.getoption("-m") or ""):
        return
    skip = pytest.mark.skip(reason="takes minutes or hours, by hand: pytest -m benchmark -s FILE")
    for item in items:
        if item.get_closest_marker("benchmark"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_corpora():
    """The folder of real parallel text that MTKIT_TEST_CORPORA names; without it, the test skips."""
    folder = os.environ.get("MTKIT_TEST_CORPORA")
    if not folder:
        pytest.skip("MTKIT_TEST_CORPORA is not set")
    return Path(folder)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes lines (or text as it is) to a file of the test's folder."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else "".join(f"{line}\n" for line in content)
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write


@pytest.fixture(scope="session")
def make_random_model():
    """Return a function that builds a small model of random weights in evaluation mode; it sets torch's seed.

    Its vocabularies have 20 ids each, its embeddings are not tied, and it has no dropout. Where there is `noise`, it is
    added to every parameter, so that none is trivially one or zero: norms and biases too. Fields are those of
    `ModelConfig`.
    """
    import torch

    from mtkit.config.model import ModelConfig
    from mtkit.model.transformer import build_model

    def make(seed=1, noise=0.0, **fields):
        values = {
            "src_vocab_size": 20, "tgt_vocab_size": 20, "d_model": 16, "d_ff": 32, "num_heads": 2,
            "num_encoder_layers": 2, "num_decoder_layers": 2, "norm": "pre", "positions": "sinusoidal",
            "max_positions": 64, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
            "tied_embeddings": "none",
        }  # fmt: skip
        torch.manual_seed(seed)
        model = build_model(ModelConfig(**values | fields))
        if noise:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter) * noise)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def model_folder(make_random_model, tmp_path_factory):
    """A model folder with a one-layer model of random weights, which likes to end its sentences."""
    import random

    import torch

    from mtkit.checkpoint.model_folder import ModelParts, write_model_folder
    from mtkit.checkpoint.weights import unique_weights
    from mtkit.config.model_folder import ModelFolderConfig
    from mtkit.config.vocabulary import VocabularySection
    from mtkit.corpus.tokenizer import learn_tokenizer

    words = ["the", "a", "dog", "cat", "man", "woman", "runs", "sees", "jumps", "over", "under", "street", "house"]
    words += ["red", "big", "small", "quick", "and", "that", "it", "was"]
    generator = random.Random(1)
    lines = [" ".join(generator.choices(words, k=generator.randint(3, 12))) + "." for _ in range(300)]
    section = VocabularySection(size=300, byte_fallback=True, user_defined_symbols=["<2de>"])
    tokenizer = learn_tokenizer(iter(lines), section)
    fields = {
        "src_vocab_size": len(tokenizer), "tgt_vocab_size": len(tokenizer), "num_encoder_layers": 1,
        "num_decoder_layers": 1, "max_positions": 512, "dropout": 0.1, "output_bias": True,
    }  # fmt: skip
    with torch.random.fork_rng():
        model = make_random_model(**fields)
    with torch.no_grad():
        model.output_proj.bias[model.config.eos_id] = 1.5
        bytes_ = [i for i, piece in enumerate(tokenizer.pieces(range(len(tokenizer)))) if piece.startswith("<0x")]
        model.output_proj.bias[bytes_] = -4.0
    folder = tmp_path_factory.mktemp("model") / "model"
    parts = ModelParts(ModelFolderConfig(mtkit_version="0", model=model.config), tokenizer, tokenizer)
    write_model_folder(folder, parts, unique_weights(model), "# A model of random weights\n")
    return folder


@pytest.fixture(scope="session")
def browser():
    """Chromium, headless; where there is none, the test skips."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Return a function that opens a file in the browser.

    Arguments are those of a Playwright context, such as `color_scheme="dark"`. After the test nothing may have been
    said on the console, raised in a script, or asked for from outside the file.
    """
    problems = []
    contexts = []

    def open_page(path, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: problems.append(request.url) if request.url[:5] not in ("file:", "data:") else None,
        )
        page.goto(path.resolve().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def answer_as_hub(monkeypatch, tmp_path):
    """Return a function that starts a server on this machine in the place of the hub, with an empty cache.

    It gives every question the same answer: status, content and headers.
    """
    import datasets

    servers = []

    def start(status, content, headers=()):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                for name, value in [*dict(headers).items(), ("Content-Length", str(len(content)))]:
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_HEAD = do_GET  # noqa: N815, the name is that of http.server

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def one_thread():
    """Compute on one thread: models of a test are so small that threads only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def emulation():
    """The module emulated_device.py, loaded once: mtkit keeps constants of each device."""
    spec = importlib.util.spec_from_file_location("emulated_device", Path(__file__).with_name("emulated_device.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def on_other_device(emulation, monkeypatch):
    """Return a context manager under which mtkit computes on a device that is not the CPU."""

    @contextmanager
    def on_other_device():
        with monkeypatch.context() as patch, emulation.emulated_device(patch) as device:
            yield device

    return on_other_device
