from types import SimpleNamespace

import pytest

from mtkit.decoding.request import Request
from mtkit.serving.fair_queue import Kind
from mtkit.serving.refusal import RefusedError
from mtkit.serving.session import Session


def test_after_its_end_a_request_takes_no_more():
    """A thread that translates HTML may still ask for lines when the client is gone."""
    dropped = []
    engine = SimpleNamespace(
        submit=lambda *_: SimpleNamespace(answer=SimpleNamespace(result=lambda: ["done"])), drop=dropped.append
    )
    session = Session(engine, "a", 60)
    assert session.translate_here(Kind(0), [Request("a")]) == ["done"]
    session.end()
    assert len(dropped) == 1
    with pytest.raises(RefusedError) as caught:
        session.translate_here(Kind(0), [Request("b")])
    assert caught.value.status == 503
