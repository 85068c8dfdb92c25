"""The documents: every block of code runs, figures agree, links lead somewhere, and nothing public is left out.

A page's blocks run one after the other in a folder of small stand-ins that have the names the page uses: a teacher is a
tiny transformer in a folder called like the hub's, ``crawl/`` holds some hundred texts. What installs is only checked:
``make`` is asked what it would do, ``pip`` whether the extras exist.
"""

from __future__ import annotations

import argparse
import ast
import csv
import itertools
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import sparsedistill
from sparsedistill import cli
from sparsedistill.cli import parser
from sparsedistill.options import Head
from sparsedistill.settings import SECTIONS

ROOT = Path(__file__).parent.parent
GENERATED = {"settings.md", "api.md", "cli.md"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
WITHOUT_CODE = {"docs/FORMAT.md", "docs/results.md"}
NOT_RUN = {"text", "bibtex"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"  # (.+)$")
SYNTAX = re.compile(r"[|<>$;&*?`()]")  # what asks for a shell
ELSEWHERE = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(https?:[^\" >]+)")
SHAPE = re.compile(r"(float32|float64) (\(.*\))")

MODEL = """

def my_slow_model(texts):
    return [[0.1, 0.9] if "late" in text else [0.8, 0.2] for text in texts]
"""
GOOD, BAD, PLAIN = (
    ["what a lovely day", "lovely service again", "fine and lovely", "a lovely, friendly crew", "what a fine day"],
    ["two hours late", "late again", "an awful delay", "lost my bag, awful", "two hours on the phone"],
    ["the train at noon", "gate seven", "a ticket to Rome", "the desk opens at nine", "where is gate nine"],
)
ENDS = ("", " today", " at the airport", " with my family", " this week", " in May", " on Monday", " they said")
TEXTS = [
    (f"{start}{end}{last}", label)
    for label, starts in (("positive", GOOD), ("negative", BAD), ("neutral", PLAIN))
    for start, end, last in itertools.product(starts, ENDS, ("", "!", " by the way"))
]
random.Random(0).shuffle(TEXTS)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[tuple[int, str, str]]:
    """Line, language and text of each block."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in BLOCK.finditer(text)]


def write_csv(path: Path, header: list[str], rows: list) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)


def write_transformer(folder: Path) -> None:
    """A transformer of one layer that tells the three kinds of texts apart."""
    import torch
    import transformers

    folder.mkdir(parents=True)
    words = sorted({word for text, _ in TEXTS for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=len(tokens), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64, num_labels=3,
        )
    )  # fmt: skip
    batch = tokenizer([text for text, _ in TEXTS[:128]], padding=True, return_tensors="pt")
    targets = torch.tensor([["negative", "neutral", "positive"].index(label) for _, label in TEXTS[:128]])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch, labels=targets).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_inputs(folder: Path) -> None:
    """What the pages take for granted."""
    train, test, more = TEXTS[:200], TEXTS[200:260], TEXTS[260:]
    texts = [text for text, _ in more] + [f"{a}, {b}" for (a, _), (b, _) in zip(more, train, strict=False)]
    columns = {"id": list(range(len(texts))), "url": [f"https://example.org/{i}" for i in range(len(texts))]}
    columns["text"] = texts
    for name in ("crawl", "more", "stanfordnlp/imdb"):
        (folder / name).mkdir(parents=True)
    write_csv(folder / "train.csv", ["text", "label"], train)
    write_csv(folder / "test.csv", ["text", "label"], test)
    write_csv(
        folder / "pages.csv", ["text", "label", "site"], [(a, b, f"site {i % 2}") for i, (a, b) in enumerate(test)]
    )
    write_csv(folder / "more/test.csv", ["text", "label"], test)
    for part, rows in (("train", train), ("test", test)):
        (folder / f"{part}.txt").write_text("".join(f"__label__{b} {a}\n" for a, b in rows), encoding="utf-8")
        table = pa.table({"text": [a for a, _ in rows], "label": [b for _, b in rows]})
        pq.write_table(table, folder / f"stanfordnlp/imdb/{part}.parquet")
    (folder / "semicolons.csv").write_text("".join(f"{b};{a}\n" for a, b in train), encoding="utf-8")
    for i, name in enumerate("ab"):
        pq.write_table(
            pa.table({key: values[i::2] for key, values in columns.items()}), folder / f"crawl/{name}.parquet"
        )
    lines = "".join(json.dumps({"id": i, "url": "", "text": text}) + "\n" for i, text in enumerate(texts))
    (folder / "crawl/c.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    (folder / "corpus.jsonl").write_text(lines, encoding="utf-8")
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    late = ["late" in text or "awful" in text for text in texts]
    scores = [[0.1, 0.9] if is_late else [0.8, 0.2] for is_late in late]
    pq.write_table(pa.table({"text": texts, "scores": scores}), folder / "scored.parquet")
    grades = [1.5 + 2.0 * is_late + len(text) / 100 for text, is_late in zip(texts, late, strict=True)]
    pq.write_table(pa.table({"text": texts, "grade": grades}), folder / "graded.parquet")
    pq.write_table(pa.table({"body": texts[:20]}), folder / "reviews.parquet")
    write_csv(folder / "reviews.csv", ["body"], [[text] for text in texts[:20]])
    trust = [1 + i % 3 for i in range(len(train))]
    kinds = [(int(b == "negative"), int(b == "positive"), int("hours" in a)) for a, b in train]
    rows = [(a, *flags, w) for (a, _), flags, w in zip(train, kinds, trust, strict=True)]
    write_csv(folder / "comments.csv", ["text", "toxic", "spam", "insult", "trust"], rows)
    write_csv(folder / "requests.csv", ["text", "team"], [(a, f"team {b}") for a, b in train])
    strange = [(f"{word} {i} of the moon", "other") for i in range(8) for word in ("phases", "craters", "seas")]
    write_csv(folder / "inbox.csv", ["text", "team"], [*((a, f"team {b}") for a, b in test), *strange])
    write_csv(folder / "new-requests.csv", ["text"], [[a] for a, _ in test])
    answers = [(a, b, "yes" if i % 2 else "no") for i, ((a, _), b) in enumerate(zip(train, texts, strict=False))]
    answers = [(a, a if label == "yes" else b, label) for a, b, label in answers]
    write_csv(folder / "answers.csv", ["question", "answer", "label"], answers)
    (folder / "judge.py").write_text(MODEL.replace("my_slow_model", "score"), encoding="utf-8")
    write_transformer(folder / "FacebookAI/roberta-large")
    sparsedistill.distill(train=str(folder / "train.csv"), hidden=[16], repeats=1).save(folder / "model")
    shutil.copytree(folder / "model", folder / "topic")
    scores = {"label": ["grade"], "task": "regression"}
    sparsedistill.distill(train=str(folder / "graded.parquet"), hidden=[8], repeats=1, **scores).save(folder / "grader")


def write_programs(folder: Path) -> None:
    """The programs of this environment, and what stands for those that install."""
    folder.mkdir()
    programs = {
        "sparsedistill": f'exec "{sys.executable}" -m sparsedistill "$@"',
        "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"',
        "pip": f'exec "{sys.executable}" "{__file__}" "$@"',
        "make": f'exec "{shutil.which("make")}" --no-print-directory -n -C "{ROOT}" "$@"',
    }
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (folder / name).chmod(0o755)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "place").mkdir()
    write_inputs(folder / "place")
    write_programs(folder / "bin")
    return folder


def enter(place: Path, stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go where the stand-ins are, with the programs among them."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    for name, value in {
        "PATH": f"{stand_ins / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(place), "CUDA_VISIBLE_DEVICES": "",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if name_of(p) not in WITHOUT_CODE], ids=name_of)
def test_every_block_runs(page, stand_ins, tmp_path, monkeypatch):
    place = tmp_path / "place"
    shutil.copytree(stand_ins / "place", place)
    enter(place, stand_ins, tmp_path, monkeypatch)
    namespace: dict = {}
    try:
        for line, language, text in blocks_of(page):
            where = f"{name_of(page)}:{line}"
            named = re.match(r"# (\w+\.(?:py|toml))\b", text)
            if named:
                (place / named[1]).write_text(text + MODEL * named[1].endswith(".py"), encoding="utf-8")
            elif language == "python":
                run_python(text, where, namespace)
            elif language == "sh":
                run_shell(text, where)
            else:
                assert language in NOT_RUN, f"{where}: a block without a language, or of one that is not run"
    finally:
        sys.modules.pop("judge", None)


@pytest.mark.slow
def test_every_example_of_help_runs(stand_ins, tmp_path, monkeypatch):
    place = tmp_path / "place"
    shutil.copytree(stand_ins / "place", place)
    enter(place, stand_ins, tmp_path, monkeypatch)
    (place / "reviews.toml").write_text(
        '[data]\ntrain = "train.csv"\n[count]\nmax_n = 2\n[distill]\nmodes = ["scratch"]\nepochs = 1\n',
        encoding="utf-8",
    )
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert {name for name, command in commands.choices.items() if command.epilog} == set(commands.choices)
    for name, command in {"": parser(), **commands.choices}.items():
        examples = [line for line in command.epilog.splitlines() if line.startswith("  ")]
        assert len(examples) > 1
        run_shell("\n".join(examples), f"sparsedistill {name} --help")


def run_python(text: str, where: str, namespace: dict) -> None:
    """Run it as a person would type it; what a comment says an expression gives is what it gives."""
    lines = text.splitlines()
    for statement in ast.parse(text).body:
        source = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        try:
            if not isinstance(statement, ast.Expr):
                exec(compile(ast.Module([statement], []), where, "exec"), namespace)
                continue
            value = eval(compile(ast.Expression(statement.value), where, "eval"), namespace)
        except Exception as error:
            raise AssertionError(f"{where}: {source}\n{type(error).__name__}: {error}") from error
        said = COMMENT.search(lines[statement.end_lineno - 1])
        if not said:
            continue
        if shape := SHAPE.fullmatch(said[1]):
            assert (str(value.dtype), str(value.shape)) == shape.groups(), f"{where}: {source}"
            continue
        try:
            expected = ast.literal_eval(said[1])
        except (ValueError, SyntaxError):
            continue  # words, or with an ellipsis
        if "..." not in said[1]:
            assert value == expected, f"{where}: {source}"


def run_shell(text: str, where: str) -> None:
    """Run it in bash; calls of nothing but `sparsedistill` here: a new process loads torch for seconds."""
    lines = text.replace("\\\n", " ").splitlines()
    for command in [text] if re.search(r"<<|^for ", text, re.MULTILINE) else lines:
        bare = re.sub(r"(^|\s)#.*", "", re.sub(r"'[^']*'|\"[^\"]*\"", "_", command))
        if bare.split()[:1] == ["sparsedistill"] and not SYNTAX.search(bare):
            assert cli.main(shlex.split(command, comments=True)[1:]) == 0, f"{where}: {command}"
        elif bare.strip():
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                capture_output=True, encoding="utf-8", timeout=500, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{where}:\n{command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"


def test_a_comment_that_lies_is_found():
    run_python("x = 1\nx + 1  # 2\n", "here", {})
    with pytest.raises(AssertionError, match="here"):
        run_python("x = 1\nx + 1  # 3\n", "here", {})
    for command in ("false | cat", "sparsedistill predict nowhere", "sparsedistill inspect nowhere > /dev/null"):
        with pytest.raises(AssertionError, match="here"):
            run_shell(command, "here")


def rows_of(page: Path) -> list[list[str]]:
    """Cells of all rows of tables, without bold and what stands in small print."""
    text = re.sub(r"\*\*|</?b>", "", page.read_text(encoding="utf-8"))
    text = re.sub(r"<small>.*?</small>|±\S+", "", text)
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


SYSTEMS = {"student, distilled and fine-tuned": "DAN KD+FT", "student from scratch": "DAN from scratch"}


def tables_of(page: Path) -> dict[str, dict[tuple[str, str], str]]:
    """Figures by system and task, of each table whose first row names tasks."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    head: list[str] = []
    for row in rows_of(page):
        if "IMDB" in row[1:]:
            head = row
            found[head[0] or "accuracy"] = found.get(head[0] or "accuracy", {})
        elif head and len(row) == len(head):
            name = SYSTEMS.get(row[0], row[0])
            for task, figure in zip(head[1:], row[1:], strict=True):
                found[head[0] or "accuracy"].setdefault((name, task.split(",")[0]), figure)
    return found


def test_the_figures_of_the_readme_are_those_of_the_results():
    readme, results = tables_of(ROOT / "README.md"), tables_of(ROOT / "docs/results.md")
    for table in ("accuracy", "texts a second"):
        compared = {key: value for key, value in readme[table].items() if not key[0].startswith("---")}
        assert len(compared) >= 25
        for key, figure in compared.items():
            assert results[table][key] == figure, f"{table}: {key}"
    for page in ("README.md", "docs/guides/routing.md"):  # what their sentences say
        text = (ROOT / page).read_text(encoding="utf-8")
        for system in ("DAN KD+FT", "teacher"):
            assert f"{results['accuracy'][system, 'MRPC']} %" in text, page


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https://")]
    assert len(links) > 5
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 137


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import docs_pages

    return docs_pages


def test_generated_pages_leave_nothing_out(pages):
    settings, api, cli = (pages.PAGES[name]() for name in ("settings.md", "api.md", "cli.md"))
    for section, kind in {**SECTIONS, "heads.NAME": Head}.items():
        assert f"\n## [{section}]" in settings
        for name in kind.__dataclass_fields__:
            assert re.search(rf"^\| `{name}`", settings, re.MULTILINE), name
    for name in sparsedistill.__all__:
        assert name.startswith("__") or f"## {name}\n" in api or f"| `{name}` |" in api, name
    for name in ("fit", "run", "teach", "evaluate", "predict", "cut", "drift", "inspect"):
        assert f"\n## {name}\n" in cli
    for option in ("--top-k K", "--set STAGE.FIELD=VALUE", "--distill-epochs", "--random-crops"):
        assert f"`{option}`" in cli
    for page in (settings, api, cli):
        assert "``" not in page.replace("```", "")
        assert not re.search(r":(class|func|meth|mod):", page)


def test_docstrings_become_markdown(pages):
    text = pages._markdown(
        """What it does, as :meth:`~a.B.of` of ``c``.

        Args:
            one: First (n,).
                And more.
            **rest: Others.

        Errors: :class:`Bad` for none.
        """
    )
    assert "as `of` of `c`" in text
    assert "- `one`: First (n,).\n  And more.\n- `**rest`: Others." in text
    assert "**Errors:** `Bad` for none." in text


def test_the_site_is_built_strictly_and_takes_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert {"settings.html", "api.html", "cli.html"} <= {page.name for page in built}
    for page in built:
        loaded = ELSEWHERE.findall(page.read_text("utf-8"))
        assert not loaded, f"{page.name} loads {loaded}"


if __name__ == "__main__":  # as `pip`: what is to be installed is there
    assert sys.argv[1] == "install", sys.argv
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for wanted in sys.argv[2:]:
        path, extras = re.fullmatch(r"([^\[]+)(?:\[(.*)\])?", wanted).groups()
        assert path == ".", f"{wanted}: only the package itself"
        for extra in filter(None, (extras or "").split(",")):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"no extra {extra}"
