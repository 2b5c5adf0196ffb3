import pytest

from mtkit.decoding.banks import Extension, share_beam
from mtkit.decoding.phrase_tracker import Progress

EOS = 3


@pytest.mark.parametrize(("log_prob", "kept"), [(-1.0, 8), (-4.9, 8), (-5.1, 7), (-9.0, 7)])
def test_a_token_of_a_phrase_is_taken_if_it_is_at_most_its_worth_behind(log_prob, kept):
    free = Extension(-1.0, 0, 7, Progress((1,), (), 2))
    wished = Extension(log_prob, 0, 8, Progress((1,), (8,), 1))  # 4 nats are what a token is worth
    ends, living = share_beam([free, wished], beam=1, room=10, eos_id=EOS)
    assert ends == []
    assert [extension.token for extension in living] == [kept]
