"""``cascade``: under which confidence texts are left undecided, or sent on to a teacher."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .. import intervals, report, selective
from ..abstain import Abstention, with_abstention
from ..cascade import NAME, one_head, run_of
from ..classifier import CONFIG, Classifier
from ..errors import SettingsError
from ..format import write_json
from ..heads import Head
from ..outcomes import WITHIN, Scored, fitted, of_files, of_run
from ..progress import say
from ..report import aligned
from ..settings import build
from .common import add_command, add_reading, given

_TEXT = (
    "Choose under which confidence a text is sent on to the teacher, or is left undecided where there is none, and "
    "store that threshold in the classifier, for Cascade and predict --min-confidence. It is chosen on labelled texts: "
    "FILEs, or without any the dev part of a run, which its teacher has scored already. With --none, texts of "
    "none of the labels are told from the others."
)

_EXAMPLES = """
  sparsedistill cascade taught --run taught.run
  sparsedistill cascade taught --run taught.run --share 0.1 --json curves.json --plot curves.png
  sparsedistill cascade model test.csv --accuracy 0.9 --name sure
  sparsedistill cascade router inbox.csv --label team --none other
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "cascade", "choose which texts are sent on, or left undecided", _TEXT, _EXAMPLES)
    command.add_argument(
        "classifier", metavar="CLASSIFIER", help="directory of a classifier, which gets the threshold, or of a run"
    )
    command.add_argument("input", metavar="FILE", nargs="*", help="labelled texts that were not used for training")
    command.add_argument(
        "--run", metavar="DIR", help="the run that made it: its teacher, and without FILE its dev texts"
    )
    _add_rules(command)
    command.add_argument(
        "--spare", type=float, default=selective.ERRORS, metavar="N",
        help="standard errors that --within and --accuracy hold with (default: 1); 0 flatters on few texts",
    )  # fmt: skip
    command.add_argument("--name", help=f"name of the threshold (default: {NAME}; with --none: none)")
    command.add_argument("--head", metavar="NAME", help="whose confidence, of a classifier of several heads")
    command.add_argument(
        "--known", action=argparse.BooleanOptionalAction,
        help="multiply the confidence with the share of a text's n-grams that are known (default: with --none)",
    )  # fmt: skip
    command.add_argument(
        "--teacher", metavar="TEACHER", help="module:function or a fine-tuned model, to score the FILEs"
    )
    command.add_argument(
        "--scores",
        choices=("logits", "probabilities"),
        default="logits",
        help="what a function gives (default: logits)",
    )
    command.add_argument(
        "--teacher-cost", type=float, metavar="SECONDS", help="what a text costs the teacher (default: as measured)"
    )
    command.add_argument("--resamples", type=int, default=intervals.RESAMPLES, metavar="N", help="of the intervals")
    command.add_argument("--json", metavar="FILE", help="write the curves there")
    command.add_argument("--plot", metavar="FILE", help="draw the curves there, as a PNG")
    add_reading(command, "label", "label_separator")
    command.set_defaults(work=_cascade, parser=command, resumes=False)


def _add_rules(command: argparse.ArgumentParser) -> None:
    """What is wanted of a threshold."""
    rules = command.add_argument_group("what is wanted (one of these)").add_mutually_exclusive_group()
    rules.add_argument(
        "--within", type=float, metavar="X",
        help=f"as accurate as the teacher, less X at most (with a teacher this is the default, of {WITHIN})",
    )  # fmt: skip
    rules.add_argument(
        "--accuracy", type=float, metavar="X", help="this accuracy: of all texts with a teacher, else of the decided"
    )
    rules.add_argument("--share", type=float, metavar="X", help="at most this share sent on, or left undecided")
    rules.add_argument(
        "--none", metavar="LABEL", help="what tells texts with this label, which is none of the classifier's, best"
    )


def _cascade(arguments: argparse.Namespace) -> None:
    run, path = run_of(arguments.run or arguments.classifier), Path(arguments.classifier)
    if run is None and arguments.run:
        raise SettingsError(f"--run {arguments.run} is no run directory: give one, or leave it out")
    path = path if arguments.run or run is None else run.directory / "classifier"
    classifier = Classifier.load(path)
    head = one_head(classifier, arguments.head)
    if head.task == "regression":
        raise SettingsError("a regression has no confidence: sparsedistill cut chooses thresholds of its scores")
    if arguments.teacher and (arguments.none is not None or not arguments.input):
        raise SettingsError("--teacher is asked about FILEs, and not with --none: leave it out")
    name = arguments.name or ("none" if arguments.none is not None else NAME)
    if _is_number(name):
        raise SettingsError(f"--name {name} is a number, which --min-confidence takes for a probability: give a word")
    known = arguments.none is not None if arguments.known is None else arguments.known
    scored = _scored(arguments, run, classifier, head, known)
    result = fitted(
        scored, within=arguments.within, accuracy=arguments.accuracy, share=arguments.share,
        none=arguments.none is not None, errors=arguments.spare, resamples=arguments.resamples,
    )  # fmt: skip
    result = {"classifier": str(path), "name": name, "head": head.name, "known": known, **result}
    write_json(
        path / CONFIG, with_abstention(classifier.config, head, name, Abstention(result["at"]["threshold"], known))
    )
    sys.stdout.write(f"\n{table_of(result)}\n\n")
    sys.stdout.flush()
    if arguments.json:
        write_json(Path(arguments.json), result)
    if arguments.plot:
        plot(result, Path(arguments.plot))
    if result["texts"] * (arguments.within or WITHIN) < 1 and scored.outcomes.teacher is not None:
        say(f"{result['texts']:,} texts are few: one of them is {100 / result['texts']:.2g} points of accuracy")
    use = f"--min-confidence {name}" + (f" --none {arguments.none}" if arguments.none is not None else "")
    python = f"; Cascade(classifier, teacher, {name!r})" * (scored.outcomes.teacher is not None)
    say(f"{path}: threshold {name} is {result['at']['threshold']:.4g}; predict {use}{python}")


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _scored(arguments: argparse.Namespace, run: Any, classifier: Classifier, head: Head, known: bool) -> Scored:
    if arguments.input:
        teacher = None if arguments.none is not None else arguments.teacher or run
        return of_files(
            classifier, head, arguments.input, build(given(arguments), "cascade").data, teacher=teacher,
            scores=arguments.scores, none=arguments.none, known=known, teacher_cost=arguments.teacher_cost,
        )  # fmt: skip
    if run is None or arguments.none is not None:
        raise SettingsError("a threshold is chosen on labelled texts: name files, or a run directory with its dev part")
    return of_run(run, classifier, head, known=known, teacher_cost=arguments.teacher_cost)


def table_of(result: dict[str, Any]) -> str:
    """The figures for a terminal."""
    at, unit = result["at"], _unit(result)

    def cells(figure: dict[str, Any]) -> list[str]:
        low, high = figure["low"], figure["high"]
        return [_percent(figure["value"]), "-" if low is None else f"{low:.1%} to {high:.1%}"]

    sends = "sent on" if "teacher" in result else "undecided"
    rows = [["", sends, "accuracy", "95% interval", *(["ms a text"] if unit else [])]]

    def row(name: str, share: float, figure: dict[str, Any], cost: float | None = None) -> None:
        rows.append([name, f"{share:.1%}", *cells(figure), *([f"{1e3 * cost:.3g}"] if cost is not None else [])])

    row("classifier", 0.0, result["classifier"], _cost_at(result, 0))
    if "teacher" in result:
        for one in result["cascade"][1:-1:2]:
            row(f"below {one['threshold']:.4g}", one["share"], one["accuracy"], one.get("cost"))
        row("teacher", 1.0, result["teacher"], _cost_at(result, -1))
    else:
        for one in result["risk"][1::2]:
            row(f"below {one['threshold']:.4g}", 1 - one["coverage"], _complement(one["risk"]))
    row(f"* {result['name']}: below {at['threshold']:.4g}", at["share"], at["accuracy"], at.get("cost"))
    lines = aligned(rows)
    lines += ["", f"{result['texts']:,} texts; area below risk against coverage {result['area']['value']:.4f}"]
    if "difference" in at:
        low, high = at["difference"]["low"], at["difference"]["high"]
        interval = "" if low is None else f" ({100 * low:+.2f} to {100 * high:+.2f})"
        lines.append(f"* against the teacher: {100 * at['difference']['value']:+.2f} points{interval}")
    if "rejected" in at:
        lines.append(
            f"* texts of none of the labels: {at['rejected']:.1%} undecided (AUC {at['auc']:.4f}); of the others "
            f"{at['right']:.1%} decided and right"
        )
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _complement(figure: dict[str, Any]) -> dict[str, Any]:
    low, high = figure["low"], figure["high"]
    return {
        "value": 1 - figure["value"],
        "low": None if low is None else 1 - high,
        "high": None if low is None else 1 - low,
    }


def _unit(result: dict[str, Any]) -> bool:
    """Whether costs are known."""
    return "cost" in result["at"]


def _cost_at(result: dict[str, Any], place: int) -> float | None:
    return float(result["cascade"][place]["cost"]) if _unit(result) else None


def plot(result: dict[str, Any], path: Path) -> None:
    """Accuracy against mean cost, where there is a teacher, and risk against coverage; a PNG."""
    figure = report.new_figure()
    if figure is None:
        return
    both = "teacher" in result
    figure.set_size_inches(7.2, 7.6 if both else 4.2)
    if both:
        _draw_cascade(figure.add_subplot(2, 1, 1), result)
    _draw_risk(figure.add_subplot(1 + both, 1, 1 + both), result)
    report.save_figure(figure, path)


def _draw_cascade(axes: Any, result: dict[str, Any]) -> None:
    in_time = _unit(result)

    def across(one: dict[str, Any]) -> float:
        return float(1e3 * one["cost"] if in_time else 100 * one["share"])

    _band(axes, [across(one) for one in result["cascade"]], [one["accuracy"] for one in result["cascade"]], "cascade")
    axes.axhline(100 * result["teacher"]["value"], color="#555555", lw=1, ls="--", label="teacher")
    at = result["at"]
    label = f"{at['share']:.1%} sent on: {at['accuracy']['value']:.2%}"
    axes.plot([across(at)], [100 * at["accuracy"]["value"]], "o", color="#c44e00", ms=7, zorder=4, label=label)
    axes.set_xlabel("mean cost of a text, ms" if in_time else "texts sent on, %")
    axes.set_ylabel("accuracy, %")
    _finish(axes, "lower right")


def _draw_risk(axes: Any, result: dict[str, Any]) -> None:
    known = [one for one in result["risk"] if one["risk"]["value"] is not None]
    label = f"area {result['area']['value']:.4f}"
    _band(axes, [100 * one["coverage"] for one in known], [one["risk"] for one in known], label)
    at = 100 * (1 - result["at"]["share"])
    axes.axvline(at, color="#c44e00", lw=1, ls=":", label=f"{at:.1f}% decided, at {result['at']['threshold']:.4g}")
    axes.set_xlabel("coverage: texts that the classifier decides, %")
    axes.set_ylabel("risk: errors among these, %")
    axes.set_ylim(bottom=0)
    _finish(axes, "upper left")


def _band(axes: Any, across: list[float], values: list[dict[str, Any]], label: str) -> None:
    axes.plot(across, [100 * one["value"] for one in values], color="#2a6f97", lw=1.8, marker="o", ms=3, label=label)
    if all(one["low"] is not None for one in values):
        low, high = ([100 * one[end] for one in values] for end in ("low", "high"))
        axes.fill_between(across, low, high, color="#2a6f97", alpha=0.15, lw=0)


def _finish(axes: Any, place: str) -> None:
    axes.grid(True, color="#e5e5e5", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc=place, fontsize=8)
