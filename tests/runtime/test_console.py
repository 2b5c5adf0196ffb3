import subprocess
import sys

import pytest

from mtkit.runtime import console


@pytest.fixture(autouse=True)
def loud():
    yield
    console.set_silent(False)
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


def test_a_silent_process_says_nothing_and_prints_its_results(capsys):
    console.set_silent(True)
    console.say("a message")
    console.warn("careful")
    console.show_table(None, ["name"], [["x"]])
    console.print_table(None, ["name"], [["result"]])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "result" in captured.out


def test_to_be_one_of_several_processes_does_not_undo_quiet(capsys):
    console.set_quiet(True)
    console.set_silent(False)
    console.say("a message")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["say", "warn"])
def test_where_nobody_reads_messages_the_work_goes_on(kind):
    code = "import sys\nfrom mtkit.runtime import console\nsys.stdin.read()\n"
    code += f"console.{kind}('x')\nconsole.{kind}('y')\nprint('done')"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], encoding="utf-8", **pipes) as process:
        process.stderr.close()
        process.stdin.close()
        assert process.stdout.read() == "done\n"
        assert process.wait(30) == 0


def test_texts_that_begin_with_a_digit_are_numbers_if_all_of_a_column_do(capsys):
    console.print_table(None, ["share", "name"], [["99.50 %", "1"], ["7 %", "one"]])
    _, first, second = capsys.readouterr().out.splitlines()
    assert (first.split("%")[0], second.split("%")[0]) == ("99.50 ", "    7 ")
    assert (first.split("%")[1].strip(), second.split("%")[1].strip()) == ("1", "one")
    assert first.index("  1") == second.index("  one")


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Return a function that gives what was written since the last call to a terminal of 80 columns."""
    shown = type(console._console)(stderr=True, force_terminal=True, width=80, soft_wrap=True)
    monkeypatch.setattr(console, "_console", shown)
    return lambda: capsys.readouterr().err


def test_progress_counts_on_a_terminal(terminal):
    with console.progress("reading", total=5) as advance:
        advance(3)
        advance(4, total=9)
    assert "7/9" in terminal()


def test_a_status_line_is_written_over_whole_and_cleared(terminal):
    status = console.StatusLine()
    status.update("step 1,000")
    status.update("end")
    status.clear()
    status.clear()
    assert terminal() == "\rstep 1,000" + "\rend" + " " * 7 + "\r   \r"


def test_a_status_line_is_no_wider_than_the_terminal_and_quiet_when_all_is(terminal):
    status = console.StatusLine()
    status.update("x" * 100)
    assert terminal() == "\r" + "x" * 79
    console.set_quiet(True)
    status.update("y")
    assert terminal() == ""
