import pytest

from mtkit.runtime import console


@pytest.fixture(autouse=True)
def loud():
    yield
    console.set_quiet(False)


def test_messages_go_to_stderr(capsys):
    console.say("a message")
    console.show_table("Title", ["name"], [["x"]])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a message" in captured.err
    assert "Title" in captured.err


def test_quiet_silences_all_but_warnings_and_results(capsys):
    console.set_quiet(True)
    console.say("a message")
    console.show_table(None, ["name"], [["x"]])
    console.warn("careful")
    console.print_table(None, ["name"], [["result"]])
    captured = capsys.readouterr()
    assert captured.err == "warning: careful\n"
    assert "result" in captured.out


def test_text_is_never_taken_for_markup(capsys):
    console.say("[red]text[/red] [/] [bold")
    console.print_table(None, ["[i]name[/i]"], [["[red]cell[/red]"]])
    captured = capsys.readouterr()
    assert captured.err == "[red]text[/red] [/] [bold\n"
    assert "[i]name[/i]" in captured.out
    assert "[red]cell[/red]" in captured.out


def test_a_row_is_one_line_where_stdout_is_no_terminal(capsys):
    console.print_table(None, ["a", "b"], [["x" * 300, "y" * 300]])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_numbers_are_grouped_and_aligned_to_the_right(capsys):
    console.print_table(None, ["name", "pairs"], [["train", 1234567], ["test", 12]])
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("1,234,567")
    assert second.endswith("       12")


def test_progress_counts_in_silence_where_stderr_is_no_terminal(capsys):
    with console.progress("reading", total=2) as advance:
        advance()
        advance(1)
    assert capsys.readouterr().err == ""


def test_a_number_of_things():
    assert [console.count(number, "line") for number in (0, 1, 2000)] == ["0 lines", "1 line", "2,000 lines"]
