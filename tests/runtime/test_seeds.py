from mtkit.runtime.seeds import derive_seed


def test_a_seed_is_a_function_of_its_parts():
    assert derive_seed(1, "order", 0) == derive_seed(1, "order", 0)
    # The value is pinned: another one would change the data order of every run there is.
    assert derive_seed(1, "order", 0) == 660393263250190214


def test_any_other_part_gives_another_seed():
    parts = [(1, "order", 0), (1, "order", 1), (2, "order", 0), (1, "dropout", 0), (1, "order"), (11, "order", 0)]
    seeds = {derive_seed(*p) for p in parts}
    assert len(seeds) == len(parts)


def test_parts_do_not_run_into_each_other():
    assert derive_seed(1, 23) != derive_seed(12, 3) != derive_seed(123)


def test_seeds_fit_into_a_signed_64_bit_integer():
    assert all(0 <= derive_seed("x", n) < 2**63 for n in range(1000))
