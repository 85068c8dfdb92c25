"""Loss, rate and dev figure over the steps: as a CSV file, a picture, and for TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ..errors import require
from ..format import replacing
from ..report import new_figure, save_figure

COLUMNS = ("step", "seconds", "rate", "loss", "dev")  # loss: the mean since the row before; dev: where it was looked at


class Curve:
    """``rows`` of :data:`COLUMNS`, in ``directory/curve.csv`` and ``curve.png``; in no file where that is None.

    Errors: :class:`MissingExtraError` when TensorBoard is asked for and not installed.
    """

    def __init__(self, directory: Path | None, rows: list[list[Any]], tensorboard: bool):
        self.directory, self.rows, self._writer = directory, rows, None
        if tensorboard and directory is not None:
            require("tensorboard", "tensorboard")
            from torch.utils.tensorboard import SummaryWriter

            # What an interrupted training wrote past its checkpoint is not to be seen twice.
            after = rows[-1][0] + 1 if rows else 0
            self._writer = SummaryWriter(directory / "tensorboard", purge_step=after)

    def add(self, *row: Any) -> None:
        """A row."""
        self.rows.append(list(row))
        if self._writer is not None:
            for name, value in zip(COLUMNS[2:], row[2:], strict=True):
                if value is not None:
                    self._writer.add_scalar(name, value, row[0])

    def save(self) -> None:
        """Write the file."""
        if self.directory is None:
            return
        with (
            replacing(self.directory / "curve.csv") as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows([COLUMNS, *self.rows])

    def close(self, what: str) -> None:
        """Write all there is, picture included; ``what`` is its title."""
        if self.directory is None:
            return
        self.save()
        if self._writer is not None:
            self._writer.close()
        if (figure := new_figure()) is None:
            return
        above, below = figure.subplots(2, 1, sharex=True)
        for axes, column, colour, mark in ((above, "loss", "#2a6f97", ""), (below, "dev", "#c44e00", "o")):
            at = COLUMNS.index(column)
            points = [(row[0], row[at]) for row in self.rows if row[at] is not None]
            axes.plot(*zip(*points, strict=True), color=colour, marker=mark, markersize=4)
            axes.set_ylabel(column)
            axes.grid(True, color="#e5e5e5")
            axes.spines[["top", "right"]].set_visible(False)
        below.set_xlabel("step")
        above.set_title(what, loc="left")
        save_figure(figure, self.directory / "curve.png")
