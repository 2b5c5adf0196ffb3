import pytest

from mtkit.decoding.translation import Alternative, Translation


class StandIn:
    """Stands in for a translator: `change` makes a translation, or several, of a request."""

    window_lines = 7

    def __init__(self, change=lambda request: request.source):
        self.change = change
        self.requests = []

    def translate_window(self, window, advance=None):
        for request in window:
            self.requests.append(request)
            texts = self.change(request)
            texts = [texts] if isinstance(texts, str) else texts
            links = tuple((i, i) for i in range(len(request.source.split())))
            yield Translation(request.source, tuple(Alternative(text=text, alignment=links) for text in texts), 1)
        if advance is not None:
            advance(len(window))


@pytest.fixture
def stand_in():
    """The class of translators that are none: they copy, or do as they are told."""
    return StandIn
