"""How package and core are laid out: what may import what, and how long things may be."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from conftest import ROOT

PACKAGE = ROOT / "src" / "sparsedistill"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

# A module may import what stands further down, and its own folder; data, teacher and student are on one level.
LEVELS = {
    "__main__": 5,
    "cli": 5,
    "commands": 5,
    "api": 4,
    "cascade": 4,
    "outcomes": 4,
    "run": 3,
    "stages": 2,
    "predict": 2,
    "measure": 2,
    "drift": 2,
    "quality": 3,
    "fidelity": 2,
    "drifted": 2,
    "data": 1,
    "teacher": 1,
    "student": 1,
}
NO_TRAINING = {"predict", "classifier"}  # and so never below teacher and student
APART = {("data", "teacher"), ("data", "student"), ("student", "teacher"), ("teacher", "student")}

# Modules that a plain install must be able to use.
BASE = {"__init__", "classifier", "format", "predict", "machine", "errors", "locks", "progress"}

FILE_LINES, CLASS_LINES, FUNCTION_LINES = 450, 250, 60


def area(module: str) -> str:
    return module.split(".")[0]


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def walk(node: ast.AST, inside: bool = True) -> Iterator[ast.AST]:
    """All nodes that run, those within functions only with ``inside``."""
    for child in ast.iter_child_nodes(node):
        if only_for_types(child) or (
            not inside and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        ):
            continue
        yield child
        yield from walk(child, inside)


def imports(module: str, inside: bool = True) -> Iterator[str]:
    """Modules that it imports: ours by their names in ``FILES``, others with a ``:`` before the top-level name."""
    folder = module.split(".") if FILES[module].stem == "__init__" else module.split(".")[:-1]
    folder = [] if module == "__init__" else folder
    for node in walk(TREES[module], inside):
        if isinstance(node, ast.Import):
            for alias in node.names:
                own = alias.name.partition(".")
                yield (own[2] or "__init__") if own[0] == "sparsedistill" else f":{own[0]}"
        elif isinstance(node, ast.ImportFrom):
            named = (node.module or "").split(".") if node.module else []
            if node.level:
                at = folder[: len(folder) - node.level + 1] + named
            elif named[0] == "sparsedistill":
                at = named[1:]
            else:
                yield f":{named[0]}"
                continue
            for alias in node.names:
                inner = ".".join([*at, alias.name])
                yield inner if inner in FILES or inner == "_core" else ".".join(at) or "__init__"


def test_the_modules_are_found():
    assert {"__init__", "cli", "student.train", "data", "progress"} <= set(FILES)
    assert "progress" in set(imports("student.train")) and ":numpy" in set(imports("classifier"))


def test_arrows():
    wrong = set()
    for module in FILES:
        for target in imports(module):
            here, there = area(module), area(target)
            if target.startswith(":") or here == there or "__init__" in (module, target):
                continue
            trains = here in NO_TRAINING and there in ("teacher", "student", "stages")
            if LEVELS.get(there, 0) > LEVELS.get(here, 0) or (here, there) in APART or trains:
                wrong.add((module, target))
    assert not wrong


def test_no_circle():
    graph = {module: {found for found in imports(module) if found in FILES} - {module} for module in FILES}
    found = set()
    for module in graph:
        reached: set[str] = set()
        waiting = list(graph[module])
        while waiting:
            if (target := waiting.pop()) not in reached:
                reached.add(target)
                waiting += graph[target]
        if module in reached:
            found.add(module)
    assert not found


def test_base_modules_need_numpy_alone():
    found = set()
    seen, waiting = set(), sorted(BASE)
    while waiting:
        module = waiting.pop()
        if module in seen or module not in FILES:
            continue
        seen.add(module)
        for target in imports(module, inside=False):
            if target.startswith(":"):
                found.add(target[1:])
            else:
                waiting.append(target)
    assert found - set(sys.stdlib_module_names) == {"numpy"}


def lengths() -> Iterator[tuple[str, int, int]]:
    """Files, classes and functions: name, lines, most lines. A function below a comment `# long: why` is free."""
    for module, path in FILES.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        yield module, len(lines), FILE_LINES
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.ClassDef):
                yield f"{module}:{node.name}", node.end_lineno - node.lineno + 1, CLASS_LINES
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and "# long:" not in lines[node.lineno - 2]:
                yield f"{module}:{node.name}", node.end_lineno - node.lineno + 1, FUNCTION_LINES


def test_lengths():
    assert not {name for name, lines, most in lengths() if lines > most}
    sources = [path for path in (ROOT / "core").rglob("*.*") if path.name != "unicode_table.h"]  # which is generated
    assert not {path.name for path in sources if path.read_text(encoding="utf-8").count("\n") > FILE_LINES}


def test_the_core_knows_no_python():
    wrong = set()
    for path in (ROOT / "core").rglob("*.*"):
        included = re.findall(r'#include [<"]([^>"]+)[>"]', path.read_text(encoding="utf-8"))
        if path.parent.name != "python":
            wrong |= {(path.name, name) for name in included if name.startswith(("Python", "nanobind", "python/"))}
    assert not wrong
