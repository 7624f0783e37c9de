"""What a run folder holds is shown in a report and on the terminal, and nothing is made of it."""

import re
from pathlib import Path

import pytest
from test_report import make_run

from sefl.report import document
from sefl.report.__main__ import main
from sefl.report.markdown import code, code_block, plain, printable

NASTY = "<script>alert(1)</script> ![x](http://x/y.png) | `tick` **b** [bold]x[/bold] [/nothing] \x1b[31m \u202e &amp;"


def test_everything_of_a_run_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(document, "FIGURES", {})
    name = NASTY.replace("/", "")
    run = make_run(name, 0, data={"class_path": f"datamodules.{NASTY}", "init_args": {}})
    (run / "command.txt").write_text(f"python -m sefl.fit {NASTY}\n````\n# a heading\n")
    make_run(f"{name} damaged", 0).joinpath("config.yaml").write_text("{")
    make_run(f"{name} resources", 0).joinpath("resources.json").write_text(f'{{"{NASTY}')
    main(["runs"])
    text, shown = Path("reports/0/report.md").read_text(), capsys.readouterr().out
    for line in (text + shown).splitlines():
        assert line.isprintable(), line
    without_code = re.sub(r"(?s)^(`{3,})bash\n.*?^\1$", "", text, flags=re.MULTILINE)
    without_code = re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", without_code)
    assert "alert" in without_code  # as text, in headings, tables and notes
    assert not re.search(r"(?<!\\)[<\[`]|^# a heading", without_code.removeprefix("# Report"), re.MULTILINE)
    assert "[bold]x[" in shown
    assert "\\x1b[31m" in shown


def test_no_markdown_is_left() -> None:
    assert plain("a_b _c_ *d* <e> & `f` | #") == "a_b \\_c\\_ \\*d\\* &lt;e&gt; &amp; \\`f\\` \\| \\#"
    assert plain("[x](y)\nz") == "\\[x\\](y)\\\\nz"
    assert printable("a\x1b\u202e\n\0é") == "a\\x1b\\u202e\\n\\x00é"
    assert code("a `` b") == "``` a `` b ```"
    assert code_block("bash", ["a", "```", "b\x1b"]) == "````bash\na\n```\nb\\x1b\n````"
