import random

from mtkit.documents.word_links import WordLinks


def test_links_are_found_and_counted_as_one_by_one():
    draw = random.Random(1)
    for _ in range(100):
        sizes = draw.randint(1, 8), draw.randint(1, 8)
        links = sorted({tuple(map(draw.randrange, sizes)) for _ in range(draw.randint(0, 12))})
        words = WordLinks("a " * sizes[0], "b " * sizes[1], links)
        sources, targets = (range(*sorted(draw.choices(range(size + 1), k=2))) for size in sizes)
        assert words.find_linked(sources, targets) == [j for i, j in links if i in sources and j in targets]
        source = draw.randint(0, sizes[0])
        assert words.count_crossing(source, targets).tolist() == [
            sum(j in targets and (i < source) != (j < gap) for i, j in links)
            for gap in range(targets.start, targets.stop + 1)
        ]
