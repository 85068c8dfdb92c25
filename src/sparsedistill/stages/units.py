"""Units of work in a run directory: which are done, with which inputs, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..format import read_json, write_json
from ..progress import Progress, clock, say
from .keys import digest, versions


class Units:
    """The units of the run in ``directory``; ``stages/UNIT.json`` there has the record of each that is done."""

    directory: Path

    def inputs_of(self, unit: str) -> dict[str, Any]:
        """All that the result of a unit depends on, as values that JSON can hold."""
        raise NotImplementedError

    def key(self, unit: str) -> str:
        """Fingerprint of :meth:`inputs_of`."""
        return digest(self.inputs_of(unit))

    def once(self, unit: str, outputs: list[Path], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do ``work`` unless ``stages/UNIT.json`` says it was done with the same inputs; return its result."""
        key = self.key(unit)
        record = self.directory / "stages" / f"{unit}.json"
        if record.is_file() and all(path.exists() for path in outputs):
            found = read_json(record)
            if found["key"] == key:
                say(f"{unit}: done already, on {found['finished']}")
                result: dict[str, Any] = found["result"]
                return result
        record.unlink(missing_ok=True)
        start = time.monotonic()
        with Progress(unit.replace(".", " ")):
            result = work()
        seconds = round(time.monotonic() - start, 2)
        write_json(
            record,
            {
                "stage": unit,
                "key": key,
                "inputs": self.inputs_of(unit),
                "result": result,
                "seconds": seconds,
                "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
                "versions": versions(),
            },
        )
        took = f" in {f'{seconds:.0f} s' if seconds < 60 else clock(seconds)}" if seconds >= 1 else ""
        say(f"{unit}: done{took}")
        return result

    def result_of(self, unit: str) -> dict[str, Any]:
        """The result of a finished unit. Errors: :class:`SettingsError` when it has not run, or with other inputs."""
        record, stage = self.directory / "stages" / f"{unit}.json", unit.partition(".")[0]
        found = read_json(record) if record.is_file() else None
        if found is None or found["key"] != self.key(unit):
            state = "has not run yet" if found is None else "is stale: its settings or texts have changed since"
            raise SettingsError(
                f"{self.directory}: the stage {stage!r} {state}: sparsedistill {stage} --run {self.directory}"
            )
        result: dict[str, Any] = found["result"]
        return result
