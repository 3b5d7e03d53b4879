"""What the README says is so: its code runs, its commands, options, files and names exist."""

import re
from pathlib import Path

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.training import settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "default_steps", lambda *sizes: 40)  # as written, it takes longer
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["table"].sample(3).columns == ["pt1", "eta1", "pt2", "eta2"]
    assert isinstance(names["flow"], pf.Flow)


@pytest.mark.parametrize("command", ["fit", "score", "sample", "info"])
def test_the_commands_have_their_options(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    known = capsys.readouterr().out
    for line in re.findall(rf"pushforward {command} (.*)", TEXT):
        for option in re.findall(r"--[a-z-]+", line):
            assert option in known


def test_every_option_it_names_exists(capsys):
    known = ""
    for command in ("fit", "score", "sample", "bench"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known += capsys.readouterr().out
    for option in re.findall(r"`(--[a-z]+)", TEXT):
        assert option in known


def test_links_lead_to_files():
    for name in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / name).exists(), name


def test_names_of_parts_exist():
    for room, row in (
        (pf.flows, "recipes"),
        (pf.transforms, "transforms"),
        (pf.maps, "maps"),
        (pf.bases, "bases"),
    ):
        line = next(line for line in TEXT.splitlines() if line.startswith(f"| {row} |"))
        named = re.findall(r"`([A-Za-z]+)[`(]", line.split("`pushforward")[0])
        assert named
        for name in named:
            assert hasattr(room, name) or name == "Flow", name


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"^make ([a-z]+)|`make ([a-z ]+)`", TEXT + contributing, re.MULTILINE)
    for target in " ".join(one or other for one, other in named).split():
        assert f"\n{target}:" in makefile


def transcript(of):
    """Commands of the console block that holds a text, and what the README says they print."""
    block = next(b for b in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) if of in b)
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed.strip()


def same(printed, promised):
    """Whether two texts say the same: words as they are, numbers to two in a hundred."""
    words, wanted = (re.split(r"[\s,]+", text.strip()) for text in (printed, promised))
    assert len(words) == len(wanted), printed
    for word, want in zip(words, wanted, strict=True):
        try:
            assert float(word) == pytest.approx(float(want), rel=0.02, abs=0.02)
        except ValueError:
            assert word == want, printed


def test_the_mixed_table_gives_what_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (make, _), (fit, table), *draws = transcript("households.csv")
    exec(re.search(r'-c "(.*)"', make)[1], {})
    with pytest.raises(SystemExit, match="0"):
        main(fit.split()[1:])
    printed = "\n".join(
        line for line in capsys.readouterr().out.splitlines() if not line.startswith("step ")
    )
    # how long it took, and how large the file is, are other machines' business
    same(printed.split("\nTrained in")[0], table.split("\nTrained in")[0])
    assert len(draws) == 2
    for command, drawn in draws:
        with pytest.raises(SystemExit, match="0"):
            main(command.split()[1:])
        printed = capsys.readouterr()
        same(printed.out + printed.err, drawn)


def test_the_flow_of_the_transcript_is_the_one_that_is_chosen():
    from pushforward.tables.choice import choose

    rows = int(re.findall(r"with \d+ bins for ([\d,]+) rows", TEXT)[-1].replace(",", ""))
    angle = {"codes": 0, "value": "angle"}
    choice = choose(rows, 4, mixed=[angle, angle])
    for reason in choice.reason:
        assert reason in " ".join(TEXT.split())
