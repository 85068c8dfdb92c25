"""Print the requirements of the package and of the named extras on one line, for pip."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        from pip._vendor import tomli as tomllib  # there before anything is installed
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted, seen = list(project["dependencies"]), set()
    waiting = sys.argv[1:]
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in extras[extra]:
            inner = re.fullmatch(r"sparsedistill\[(.*)\]", requirement)
            if inner:
                waiting += inner[1].split(",")
            else:
                wanted.append(requirement)
    # Without spaces, so that a shell splits between requirements and nowhere else.
    sys.stdout.write(" ".join(sorted({requirement.replace(" ", "") for requirement in wanted})))


main()
