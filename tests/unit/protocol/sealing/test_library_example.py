import re
from pathlib import Path

GUIDE = Path(__file__).parents[4] / "docs" / "sealing.md"


def test_the_guides_example_runs_and_prints_what_it_says(capsys) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    exec(compile(code, str(GUIDE), "exec"), {})  # noqa: S102
    (promised,) = re.findall(r"^# (\{.*\})$", code, re.MULTILINE)
    assert capsys.readouterr().out.strip() == promised
