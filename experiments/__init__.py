"""Every system and every study of the paper, made here: ``python -m experiments --help``."""

import sys
from pathlib import Path

# ``python -m`` puts the checkout before the installed package, and the checkout's has no compiled core.
_path, _root = sys.path, Path(__file__).resolve().parent.parent
sys.path = [folder for folder in _path if Path(folder or ".").resolve() != _root]
import sparsedistill  # noqa: E402, F401

sys.path = _path
