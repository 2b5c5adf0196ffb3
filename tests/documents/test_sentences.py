from mtkit.documents.sentences import find_sentence_ends


def test_what_has_no_letters_is_no_sentence():
    assert find_sentence_ends("5! The dog sleeps. A cat runs.", "en") == [len("5! The dog sleeps. ")]
