import random
from itertools import combinations, pairwise

from mtkit.documents.flow import Piece, Word, balance_lines, fill_lines, find_words, join_words


def find_longest(lines):
    return max(len(join_words(line)) for line in lines)


def test_of_the_fewest_lines_the_longest_is_as_short_as_it_can_be():
    draw = random.Random(1)
    for _ in range(100):
        sizes = draw.choices(range(1, 9), k=draw.randint(1, 9))
        words = [Word("x" * size, size, index > 0) for index, size in enumerate(sizes)]
        width = draw.randint(8, 20)
        lines = balance_lines(words, width)
        assert [word for line in lines for word in line] == words
        assert len(lines) == len(fill_lines(words, width))
        cuts = ((0, *inner, len(words)) for inner in combinations(range(1, len(words)), len(lines) - 1))
        ways = ([words[start:end] for start, end in pairwise(cut)] for cut in cuts)
        assert find_longest(lines) == min(map(find_longest, ways))


def test_scripts_without_spaces_break_between_words_only_where_a_line_may_end():
    words = find_words([Piece("日本語abc日本。 「水」"), Piece("日本", is_fixed=True)], cut_unspaced=True)
    assert [word.text for word in words] == ["日", "本", "語", "abc", "日", "本。", "「水」日本"]
