import pytest

from mtkit.runtime.control_groups import find_control_groups


@pytest.mark.parametrize(("line", "top"), [("4:memory,cpu:/job/step", "cpu"), ("0::/job/step", "")])
def test_the_groups_of_a_process_are_its_own_and_those_that_it_stands_in(tmp_path, line, top):
    membership = tmp_path / "membership"
    membership.write_text(f"7:name=systemd:/other\n3:cpuset:/other\n{line}\n")
    expected = {tmp_path / top / group for group in ("", "job", "job/step")}
    assert find_control_groups("cpu", tmp_path, membership) == expected | {tmp_path, tmp_path / "cpu"}


def test_a_system_without_groups_has_none_but_the_places_where_they_would_be(tmp_path):
    assert find_control_groups("cpu", tmp_path, tmp_path / "none") == {tmp_path, tmp_path / "cpu"}
