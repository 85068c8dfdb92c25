"""The stages of a run, in their order, each in a module of its own.

A stage's module has ``HELP``, a line for the command line; ``execute(run)``, which does its work on a
:class:`sparsedistill.run.Run`; and ``inputs(run, name)``: all that the result of its unit ``name`` depends on (a unit
is a part of a stage's work that is finished or not, as ``label.corpus``; ``name`` is what follows the dot).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import compress, count, crops, distill, embed, evaluate, finetune, label, size, teach, train

STAGES: dict[str, Any] = {
    "teach": teach,
    "label": label,
    "count": count,
    "distill": distill,
    "finetune": finetune,
    "compress": compress,
    "size": size,
    "evaluate": evaluate,
}
# Also of units that a stage has others make.
INPUTS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    **{name: stage.inputs for name, stage in STAGES.items()},
    "embed": embed.inputs,
    "crops": crops.inputs,
}

__all__ = ["INPUTS", "STAGES", "label", "teach", "train"]
