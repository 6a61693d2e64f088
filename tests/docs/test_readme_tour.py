"""The README's five-minute tour, command by command as it is printed, with all four hospitals."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from compose.loopback import PUBLISHED_ROWS
from compose.processes import Processes, free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def tour_commands() -> list[str]:
    section = (ROOT / "README.md").read_text().split("## The five-minute tour by hand")[1].split("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


class Terminal:
    """Runs lines as a shell would, in one folder; services go to the background."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes = folder, processes
        self.environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}

    def type(self, line: str) -> str:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = value
            return ""
        if " serve " in line or line.startswith("consortia-silo run"):
            words = [word.replace("tour/", f"{self.folder}/tour/") for word in shlex.split(line)]
            self.processes.start(line.split("--folder ")[1].split()[0].replace("/", "-"), words)
            return ""
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
            input="y\n", timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.mark.slow
def test_the_tour_of_the_readme_works_as_it_is_printed(tmp_path):
    for name in ("docs", "compose"):
        (tmp_path / name).symlink_to(ROOT / name)
    port = str(free_port())
    commands = [line.replace("8700", port) for line in tour_commands()]
    invite = commands.index(next(line for line in commands if "admin invite" in line))
    propose = commands.index(next(line for line in commands if "study propose" in line))
    with Processes(tmp_path / "logs") as processes:
        terminal = Terminal(tmp_path, processes)
        shown = ""
        for line in commands[:invite]:
            shown += terminal.type(line)
            if " serve " in line:
                processes.wait_for_health(f"http://127.0.0.1:{port}")
        founding = re.search(r"\b[0-9a-f]{64}\b", shown)[0]
        for silo, rows in PUBLISHED_ROWS.items():
            invitation = words = ""
            for line in commands[invite:propose]:
                line = line.replace("cleveland", silo).replace("--rows 303", f"--rows {rows}")
                answer = terminal.type(line.replace("INVITATION", invitation).replace("SIX WORDS", words))
                invitation = invitation or "".join(re.findall(r"\S+\.[0-9a-f]{64}", answer)[:1])
                words = words or "".join(re.findall(r"(?:[a-z]{5} ){5}[a-z]{5}", answer)[:1])
        study = ""
        for line in commands[propose:]:
            if "study accept" in line:
                continue  # these owners accept by rule
            answer = terminal.type(line.replace("STUDY", study[:12]).replace("FOUNDING_DIGEST", founding))
            study = study or "".join(re.findall(r"\b[0-9a-f]{64}\b", answer)[:1])
    made = tmp_path / "tour" / "model"
    assert {"model.safetensors", "model.onnx", "metrics.json", "model-card.md"} <= {one.name for one in made.iterdir()}
