"""What every committed notebook keeps to, beyond reproducing its outputs under `pytest --nbval`."""

import ast
import base64
import copy
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tools.normalise import CHANCE, IGNORED, code_cells, dumps, normalise, read, settle, tags
from tools.repository import MACHINE_PATH, ROOT, address, notebooks
from tools.stamp import BADGE, TAG, badge, colab_cell, stamp_notebook, stamp_text

EXERCISE = "exercise"
CHECK = re.compile(r"check\.(\w+)\(.*\)")
SOLUTION = re.compile(
    r"<details>\s*<summary>Solution</summary>\s*```python\n(?P<code>.*?)\n```\s*</details>", re.DOTALL
)


def outputs_text(cell: NotebookNode) -> str:
    """All that a reader of the outputs can read; pictures in base64 are left out."""
    parts = []
    for output in cell.outputs:
        parts += [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
        parts += [str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
    return re.sub(r"data:image/[^\"')\s]+", "", "\n".join(parts))


def faults(nb: NotebookNode, name: str) -> list[str]:
    """Everything wrong with a notebook, a sentence each."""
    code, found = code_cells(nb), []

    def expect(holds: object, sentence: str) -> None:
        if not holds:
            found.append(sentence)

    counts = [cell.execution_count for cell in code]
    expect(counts == list(range(1, len(code) + 1)), f"not one run from top to bottom: execution counts {counts}")
    expect("widgets" not in nb.metadata, "metadata.widgets hides the pictures from viewers without a kernel")
    expect(dumps(nb) == dumps(normalise(copy.deepcopy(nb))), "not in normal form: run `make notebooks`")
    size = len(dumps(nb).encode())
    expect(size < 1e6, f"{size} bytes, the limit is one million")
    ignored = sum(IGNORED in tags(cell) for cell in code)
    expect(2 * ignored <= len(code), f"{ignored} of {len(code)} code cells are tagged {IGNORED}")

    markdown = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    expect([found[0] for found in BADGE.finditer(markdown)] == [badge(address(), name)], "not one Colab badge of ours")
    first = code[0] if code else new_code_cell()
    expect(TAG in tags(first) and first.source == colab_cell(address()), "no Colab cell first: run `make stamp`")
    expect(not first.outputs, "the Colab cell has output")

    for number, cell in enumerate(code, start=1):
        lines = len(cell.source.splitlines())
        expect(lines <= 30, f"[{number}] has {lines} lines, the limit is 30")
        expect("NBVAL" not in cell.source and "nbval-skip" not in tags(cell), f"[{number}] hides from nbval")
        for output in cell.outputs:
            expect(output.get("name") != "stderr", f"[{number}] wrote to stderr")
            expect(output.output_type != "error" or "raises-exception" in tags(cell), f"[{number}] ends in an error")
        expect(not MACHINE_PATH.search(outputs_text(cell)), f"[{number}] shows a path of one machine")
    for cell in nb.cells:
        path = MACHINE_PATH.search(cell.source)
        expect(not path, f"a source names a path of one machine: {path and path[0]}")
    return found + exercise_faults(nb)


def exercise_faults(nb: NotebookNode) -> list[str]:
    found, solutions = [], sum("<summary>Solution" in cell.source for cell in nb.cells)
    pairs = exercises(nb)
    for name, solution in pairs:
        if not name:
            found.append("an exercise does not end in check.NAME(...)")
        elif not solution:
            found.append(f"no folded solution right after the exercise of check.{name}")
        elif not re.fullmatch(rf"check\.{name}\(.*\)", solution.splitlines()[-1]):
            found.append(f"the solution for check.{name} does not end in check.{name}(...)")
    if solutions != len(pairs):
        found.append(f"{solutions} solutions for {len(pairs)} exercises")
    return found


def exercises(nb: NotebookNode) -> list[tuple[str, str]]:
    """(checker, solution) of each cell tagged `exercise`; the empty string for what is missing."""
    pairs = []
    for cell, after in zip(nb.cells, [*nb.cells[1:], new_markdown_cell()]):
        if EXERCISE in tags(cell):
            last = CHECK.fullmatch((cell.source.splitlines() or [""])[-1])
            folded = SOLUTION.search(after.source) if after.cell_type == "markdown" else None
            pairs.append((last[1] if last else "", folded["code"] if folded else ""))
    return pairs


def run_solution(code: str) -> object:
    """Execute a solution in an empty namespace and return the value of its last line, the checker's answer."""
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value)
    names: dict[str, object] = {"__name__": "solution"}
    exec(compile(tree, "<solution>", "exec"), names)
    return eval(compile(last, "<solution>", "eval"), names)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_notebook_keeps_to_the_rules(path: Path) -> None:
    nb = read(path)
    nbformat.validate(nb)
    assert not faults(nb, path.name)


SOLUTIONS = [
    pytest.param(code, id=f"{path.stem}-{name}") for path in notebooks() for name, code in exercises(read(path)) if code
]


@pytest.mark.parametrize("code", SOLUTIONS)
def test_solution_passes_its_checker(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_solution(code)
    assert answer is True, capsys.readouterr().out


def test_readme_names_the_address_of_pyproject() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("no README yet")
    text = readme.read_text(encoding="utf-8")
    assert text == stamp_text(text, address()), "run `make stamp`"
    assert all(found == address() for found in re.findall(r"git clone (https://\S+?)(?:\.git)?(?=[\s`]|$)", text))


# The checks above can fail, and the tools do what the checks ask for.


def sample() -> NotebookNode:
    """A small notebook that keeps to every rule."""
    nb = new_notebook(
        cells=[
            new_markdown_cell("# A sample"),
            new_code_cell("1 + 1", outputs=[new_output("stream", text="2\n")]),
            new_code_cell("train()", outputs=[new_output("stream", text="loss 0.32\n")]),
            new_code_cell("double = ...\ncheck.double(double)"),
            new_markdown_cell(
                "<details><summary>Solution</summary>\n\n```python\ndouble = 2\ncheck.double(double)\n```\n\n</details>"
            ),
        ]
    )
    nb.cells[2].metadata.tags = [IGNORED]
    nb.cells[3].metadata.tags = [EXERCISE]
    for number, cell in enumerate(nb.cells):
        cell.id = f"sample-{number}"
    nb = normalise(stamp_notebook(nb, address(), "sample.ipynb"))
    for number, cell in enumerate(code_cells(nb), start=1):
        cell.execution_count = number
    return nb


def spoil(nb: NotebookNode, what: str) -> None:
    cell = code_cells(nb)[1]
    match what:
        case "execution counts":
            cell.execution_count = None
        case "metadata.widgets":
            nb.metadata.widgets = {}
        case "normal form":
            cell.metadata.execution = {"started": "today"}
        case "limit is one million":
            cell.outputs[0].text = "2" * 1_000_000
        case "are tagged":
            for each in code_cells(nb):
                each.metadata.tags = [*tags(each), IGNORED]
        case "Colab badge":
            nb.cells[0].source = nb.cells[0].source.replace("sample.ipynb", "other.ipynb")
        case "Colab cell first":
            code_cells(nb)[0].source += "\nprint()"
        case "limit is 30":
            cell.source = "x = 1\n" * 31
        case "hides from nbval":
            cell.source = "# NBVAL_IGNORE_OUTPUT\n1 + 1"
        case "stderr":
            cell.outputs[0].name = "stderr"
        case "ends in an error":
            cell.outputs = [new_output("error", ename="E", evalue="no", traceback=["E: no"])]
        case "shows a path":
            cell.outputs[0].text = "/home" + "/ann/digits"
        case "a source names a path":
            cell.source = "open('/home" + "/ann/digits')"
        case "no folded solution":
            del nb.cells[-1]
        case "does not end in check.NAME":
            code_cells(nb)[3].source = "double = ..."
        case "does not end in check.double":
            nb.cells[-1].source = nb.cells[-1].source.replace("check.double(double)", "pass")
        case "2 solutions for 1":
            nb.cells.append(copy.deepcopy(nb.cells[-1]))


SPOILS = (
    "execution counts|metadata.widgets|normal form|limit is one million|are tagged|Colab badge|Colab cell first|"
    "limit is 30|hides from nbval|stderr|ends in an error|shows a path|a source names a path|no folded solution|"
    "does not end in check.NAME|does not end in check.double|2 solutions for 1"
)


@pytest.mark.parametrize("what", SPOILS.split("|"))
def test_each_rule_can_be_broken(what: str) -> None:
    nb = sample()
    assert faults(nb, "sample.ipynb") == []
    spoil(nb, what)
    assert any(what in sentence for sentence in faults(nb, "sample.ipynb"))


def test_a_wrong_solution_is_seen() -> None:
    assert run_solution("def check(x):\n    return x == 2\ncheck(2)") is True
    assert run_solution("def check(x):\n    return x == 2\ncheck(3)") is False


@pytest.mark.parametrize(("text", "kept"), [("loss 0.47\n", True), ("loss 0.47, and a warning\n", False)])
def test_a_second_run_keeps_what_differs_in_numbers_only(text: str, kept: bool) -> None:
    old, new = sample(), sample()
    code_cells(new)[2].outputs[0].text = text
    settle(old, new)
    assert (dumps(new) == dumps(old)) == kept


def test_pictures_become_palettes_once_and_keep_their_colours() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (90, 90, 1), dtype=np.uint8).repeat(4, 2)
    grey[..., 3] = 255  # (90, 90, 4), as matplotlib writes
    ramp = np.linspace(0, 255, 8).round().astype(np.uint8)
    grey[:8, :8, 0], grey[:8, :8, 1], grey[:8, :8, 2] = (
        ramp,
        ramp[:, None],
        255 - ramp,
    )  # few pixels, all of them coloured
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "png")
    nb, png = sample(), base64.b64encode(buffer.getvalue()).decode()
    code_cells(nb)[1].outputs = [new_output("display_data", data={"image/png": png})]
    once = normalise(copy.deepcopy(nb))
    small = code_cells(once)[1].outputs[0].data["image/png"]
    picture = Image.open(io.BytesIO(base64.b64decode(small)))
    assert len(small) < len(png) and picture.mode == "P" and dumps(normalise(copy.deepcopy(once))) == dumps(once)
    assert np.abs(np.asarray(picture.convert("RGB"), dtype=int) - grey[..., :3]).max() <= 16, (
        "nobody sees the difference"
    )


def test_nbval_and_the_tools_leave_out_the_same() -> None:
    assert f"regex: {CHANCE.pattern}\nreplace: CHANCE\n" in (ROOT / "tests" / "nbval.cfg").read_text()


def test_a_change_elsewhere_renews_the_tagged_outputs() -> None:
    old, new = sample(), sample()
    code_cells(new)[1].outputs[0].text = "3\n"
    code_cells(new)[2].outputs[0].text = "loss 0.47\n"
    settle(old, new)
    assert [cell.outputs[0].text for cell in code_cells(new)[1:3]] == ["3\n", "loss 0.47\n"]


def test_stamping_follows_a_new_address() -> None:
    new = "https://github.com/someone/else"
    text = f"{badge(address(), 'a.ipynb')} git clone {address()}\n{address()}-extras https://github.com/huggingface/x"
    assert stamp_text(text, new) == (
        f"{badge(new, 'a.ipynb')} git clone {new}\n{address()}-extras https://github.com/huggingface/x"
    )
    nb = stamp_notebook(sample(), new, "sample.ipynb")
    assert code_cells(nb)[0].source == colab_cell(new) and badge(new, "sample.ipynb") in nb.cells[0].source
