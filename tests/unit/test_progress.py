"""What a job says while it works: one line that changes on a terminal, few plain lines in a file."""

import io
import logging
import re
import sys

import pytest
from tqdm import tqdm

from cmr import progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end."""
    lines = [""]
    for piece in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", text):
        if piece == "\n":
            lines.append("")
        elif piece in ("\r", "\x1b[K"):
            lines[-1] = "" if piece == "\x1b[K" else lines[-1]
        else:
            lines[-1] = piece
    return lines


def draw_a_bar(newest: progress.Newest, steps: int) -> None:
    for _ in tqdm(range(steps), desc="lite0", unit=" items", file=newest, mininterval=0, miniters=1):
        pass


def test_in_a_file_a_bar_is_a_line_now_and_then() -> None:
    out = io.StringIO()
    draw_a_bar(progress.Newest(out, "extract emoji lite0", Clock()), 60)
    lines = out.getvalue().splitlines()
    assert 3 <= len(lines) <= 7
    assert "\r" not in out.getvalue()
    assert all(line.startswith("extract emoji lite0: lite0: ") for line in lines)
    done = [int(re.search(r"(\d+)/60", line)[1]) for line in lines]
    assert done == sorted(done)
    assert done[0] >= 5, "what is over soon says nothing"


def test_on_a_terminal_a_bar_is_one_line_that_is_gone_in_the_end() -> None:
    out = Terminal()
    newest = progress.Newest(out, "extract emoji lite0", Clock())
    draw_a_bar(newest, 20)
    assert "extract emoji lite0: lite0: " in out.getvalue()
    assert "20/20" in out.getvalue()
    assert screen(out.getvalue()) == [""]


def test_epochs_of_the_log_are_shown_and_errors_stand_below_nothing() -> None:
    out = Terminal()
    newest = progress.Newest(out, "fit emoji cca 0", Clock())
    log = logging.Logger("cmr.methods.training", logging.INFO)
    log.addHandler(newest)
    log.info("epoch %d of %d: loss %.1f, validation %.1f", 3, 9, 0.5, 0.25)
    assert screen(out.getvalue()) == ["fit emoji cca 0: epoch 3 of 9: loss 0.5, validation 0.2"]
    log.info("epoch %d of %d: loss %.1f, validation %.1f", 4, 9, 0.4, 0.25)
    assert screen(out.getvalue()) == ["fit emoji cca 0: epoch 4 of 9: loss 0.4, validation 0.2"]
    print("error: something", file=newest)
    assert screen(out.getvalue()) == ["error: something", ""]


def test_a_long_line_is_cut_to_the_terminal_and_shows_no_control_character(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    newest = progress.Newest(out, "fit", Clock())
    newest.show("x\x1b[31m" + "y" * 200)
    (line,) = screen(out.getvalue())
    assert len(line) == progress.COLUMNS - 1
    assert line.startswith("fit: x\\u001b[31myyy")


def test_the_epoch_comes_before_the_name_where_a_terminal_is_narrow() -> None:
    newest = progress.Newest(Terminal(), "fit emoji default lite0+bert dla 0", Clock())
    text = "epoch 3 of 9: loss 0.5, validation 0.2"
    assert newest.fitting(text, 100) == f"{newest.about}: {text}"
    assert newest.fitting(text, 60) == f"…lt lite0+bert dla 0: {text}"
    assert newest.fitting(text, 30) == "…+bert dla 0: epoch 3 of 9: lo"


def test_other_text_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with progress.told("fit", "results/fits/emoji/default/lite0+bert/cca/0/fit.json"):
        print("one\n\nline\r\nand more", file=sys.stderr)
        assert sys.stderr.getvalue() == "one\n\nline\r\nand more\n"
    assert sys.stderr is out


@pytest.mark.parametrize(
    ("stage", "record", "words"),
    [
        ("fit", "results/fits/emoji/default/lite0+bert/cca/0/fit.json", "fit emoji default lite0+bert cca seed 0"),
        (
            "evaluate",
            "results/runs/emoji/default/lite0+bert/cca/0/run.json",
            "evaluate emoji default lite0+bert cca seed 0",
        ),
        (
            "evaluate",
            "results/runs/emoji/default/lite0+bert/cca/0/run-1a2b3c.json",
            "evaluate emoji default lite0+bert cca seed 0",
        ),
        ("extract", "results/features/emoji/lite0.json", "extract emoji lite0"),
    ],
)
def test_a_job_is_named_as_in_its_line_at_the_end(stage: str, record: str, words: str) -> None:
    assert progress.about(stage, record) == words
