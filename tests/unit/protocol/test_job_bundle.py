import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical, job_harness
from protocol.errors import Malformed
from protocol.job_bundle import MAX_TEXT_BYTES, bundle_of, read_bundle
from protocol.job_outputs import MAX_BYTES, output_commitment, outputs_of, read_outputs

MAIN = b"def main(rows, out):\n    (out / 'n').write_text(str(len(rows['age'])))\n"


def raw(*files: tuple[str, str], **changes) -> bytes:
    listed = [{"path": path, "text": text} for path, text in files]
    return canonical.encode({"format": "consortia-bundle/1", "files": listed, **changes})


def test_a_bundle_is_one_canonical_document_whose_digest_names_it():
    bundle = bundle_of({"lib/count.py": b"x = 1\n", "analysis.py": b"# \xc3\xa9\n"})
    assert (
        bundle.encode()
        == (
            '{"files":[{"path":"analysis.py","text":"# é\\n"},{"path":"lib/count.py","text":"x = 1\\n"}],'
            '"format":"consortia-bundle/1"}'
        ).encode()
    )
    assert bundle.digest == canonical.digest(bundle.encode())
    assert read_bundle(bundle.encode()) == bundle


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}\.py)?", fullmatch=True),
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
        max_size=5,
    )
)
def test_every_bundle_reads_back_from_its_bytes_and_no_other_bytes_give_it(files):
    given_files = {"analysis.py": MAIN} | {path: text.encode() for path, text in files.items()}
    folders = {path.split("/")[0] for path in given_files if "/" in path}
    given_files = {path: text for path, text in given_files.items() if path not in folders}
    bundle = bundle_of(given_files)
    assert {path: text.encode() for path, text in read_bundle(bundle.encode()).texts.items()} == given_files
    with pytest.raises(Malformed):
        read_bundle(bundle.encode() + b" ")


@pytest.mark.parametrize(
    "path",
    [
        "../analysis.py",
        "/etc/passwd",
        "lib/../../x.py",
        "lib//x.py",
        "lib/",
        ".hidden.py",
        "lib/.git",
        "a\\b.py",
        "a b.py",
        "a\n.py",
        "a\u202e.py",
        "é.py",
        "C:x.py",
        "a/b/c/d/e/f.py",
        "x" * 101,
        "",
    ],
)
def test_a_path_that_could_lead_out_hide_or_mislead_is_refused(path):
    with pytest.raises(Malformed):
        bundle_of({"analysis.py": MAIN, path: b""})


def test_paths_that_one_file_system_takes_for_the_same_are_refused():
    with pytest.raises(Malformed, match="twice"):
        bundle_of({"analysis.py": MAIN, "Analysis.py": MAIN})
    with pytest.raises(Malformed, match="both a file and a folder"):
        bundle_of({"analysis.py": MAIN, "lib": b"", "lib/x.py": b""})


def test_what_is_not_text_can_not_be_read_and_is_refused():
    for data, why in ((b"\xff\xfe", "UTF-8"), (b"\xed\xa0\x80", "UTF-8"), (b"a\x00b", "NUL")):
        with pytest.raises(Malformed, match=why):
            bundle_of({"analysis.py": MAIN, "data.txt": data})


def test_a_bundle_without_an_entry_or_over_its_bounds_is_refused():
    with pytest.raises(Malformed, match=r"analysis\.py is missing"):
        bundle_of({"other.py": MAIN})
    bundle_of({"analysis.py": b"#" * MAX_TEXT_BYTES})
    with pytest.raises(Malformed, match="at most"):
        bundle_of({"analysis.py": b"#" * (MAX_TEXT_BYTES + 1)})
    with pytest.raises(Malformed, match="at most"):
        bundle_of({"analysis.py": b"\x01" * (MAX_TEXT_BYTES - 1)})
    with pytest.raises(Malformed):
        bundle_of({"analysis.py": MAIN} | {f"f{number}.py": b"" for number in range(100)})


@pytest.mark.parametrize(
    "data",
    [
        raw(("lib.py", ""), ("analysis.py", "")),
        raw(("analysis.py", ""), ("analysis.py", "other")),
        raw(("analysis.py", ""), format="consortia-bundle/2"),
        raw(("analysis.py", ""), mode=0o4755),
        json.dumps({"format": "consortia-bundle/1", "files": [{"path": "analysis.py", "text": ""}]}).encode(),
        b"PK\x03\x04",
    ],
    ids=["unsorted", "twice", "format", "more fields", "not canonical", "an archive"],
)
def test_bytes_that_are_no_canonical_bundle_are_refused(data):
    with pytest.raises(Malformed):
        read_bundle(data)


def test_outputs_read_back_and_their_bounds_hold():
    outputs = outputs_of({"table.csv": b"a,b\n", "plot.png": bytes(range(256))})
    assert read_outputs(outputs.encode()).contents == {"plot.png": bytes(range(256)), "table.csv": b"a,b\n"}
    assert read_outputs(outputs_of({}).encode()).contents == {}
    for files in ({"x": bytes(MAX_BYTES + 1)}, {f"f{number}": b"" for number in range(33)}, {"../x": b""}):
        with pytest.raises(Malformed):
            outputs_of(files)
    spoilt = outputs.encode().replace(base64.b64encode(b"a,b\n"), b"a,b")
    with pytest.raises(Malformed):
        read_outputs(spoilt)


def test_a_commitment_to_outputs_tells_nothing_without_its_salt():
    document = outputs_of({"answer": b"1"}).encode()
    first, second = (output_commitment(bytes([salt]) * 32, document) for salt in (1, 2))
    assert first != second
    with pytest.raises(Malformed, match="32"):
        output_commitment(b"", document)


def test_an_analysis_gets_its_columns_by_name_and_writes_what_it_returns(tmp_path: Path):
    wanted = "def main(rows, out):\n    (out / 'top').write_text(f\"{top(rows['age'])} {list(rows)}\")\n"
    (tmp_path / "analysis.py").write_text("from lib import top\n\n" + wanted)
    (tmp_path / "lib.py").write_text("def top(values):\n    return values.max()\n")
    np.array([[30.0, 1.0], [70.0, 0.0]]).astype("<f8").tofile(tmp_path / "rows")
    command = [sys.executable, "-m", "protocol.job_harness", tmp_path, tmp_path / "rows", "age,sex", "4096"]

    def run() -> tuple[int, dict[str, bytes]]:
        ended = subprocess.run(command, stdout=subprocess.PIPE)
        return ended.returncode, read_outputs(ended.stdout).contents

    assert run() == (job_harness.FINISHED, {"top": b"70.0 ['age', 'sex']"})
    (tmp_path / "analysis.py").write_text("main = 1\n")
    status, files = run()
    assert (status, list(files)) == (job_harness.FAILED, ["printed.txt"])
    assert b"not callable" in files["printed.txt"]
    (tmp_path / "analysis.py").write_text("def main(rows, out):\n    (out / 'link').symlink_to('/etc/passwd')\n")
    status, files = run()
    assert (status, files) == (
        job_harness.NO_OUTPUTS,
        {"printed.txt": b"outputs refused: 'link' is neither a file nor a folder\n"},
    )
