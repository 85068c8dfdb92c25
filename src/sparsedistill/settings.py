"""The settings of a run: an options class a stage, from TOML, Python or the command line, checked against each other.

Settings come, the later over the earlier, from the defaults of :mod:`sparsedistill.options`, the run directory's
``settings.json``, a TOML file, and the command line.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .encoding import encoding_of
from .errors import SettingsError, require
from .options import MODES, OPEN_HIDDEN, Compress, Count, Data, Distill, Evaluate, Finetune, Head, Label, Size, Teach
from .pooling import POOLINGS
from .text import MOST_CHARACTERS

# Settings of several stages that mean the same in each: given by themselves they are those of every stage.
SHARED = ("device", "threads", "checkpoint_seconds")


@dataclass(frozen=True)
class Settings:
    """All of them, a part a stage; ``heads``: those of the heads by name, where the classifier has several."""

    data: Data = field(default_factory=Data)
    teach: Teach = field(default_factory=Teach)
    label: Label = field(default_factory=Label)
    count: Count = field(default_factory=Count)
    distill: Distill = field(default_factory=Distill)
    finetune: Finetune = field(default_factory=Finetune)
    compress: Compress = field(default_factory=Compress)
    size: Size = field(default_factory=Size)
    evaluate: Evaluate = field(default_factory=Evaluate)
    heads: dict[str, Head] = field(default_factory=dict)

    @classmethod
    def of(cls, **values: Any) -> Settings:
        """Settings by their names: ``Settings.of(train="train.csv", hidden=[256], teach={"epochs": 2})``.

        A name that one stage has is given by itself, what several have in a dict a stage (but ``device``, ``threads``
        and ``checkpoint_seconds`` by themselves are those of every stage). Lists may be any sequence, and one value
        stands for a list of one.

        Errors: :class:`SettingsError` naming what is unknown, ambiguous, or of a wrong type.
        """
        tables: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name == "heads":
                tables["heads"] = value
                continue
            if name in SECTIONS and isinstance(value, Mapping):
                tables.setdefault(name, {}).update(value)
                continue
            owners = sections_with(name)
            if not owners:
                close = difflib.get_close_matches(name, [f.name for kind in SECTIONS.values() for f in fields(kind)])
                raise SettingsError(f"there is no setting {name!r}" + (f": do you mean {close[0]!r}?" if close else ""))
            if len(owners) > 1 and name not in SHARED:
                raise SettingsError(
                    f"{name} is a setting of {', '.join(owners)}: give it in a dict, as in "
                    f"{owners[0]}={{{name!r}: {value!r:.40}}}"
                )
            for owner in owners:
                tables.setdefault(owner, {}).setdefault(name, value)
        return build(tables, "settings")

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Settings:
        """Settings of a TOML file with a table a stage. Errors: :class:`SettingsError` for a file that is none."""
        values = read_toml(Path(path))
        values.pop("run", None)  # of the command line: where the run directory is
        return build(values, str(path))

    @property
    def task(self) -> str:
        """The task of [data], or "heads"."""
        return "heads" if self.heads else self.data.task

    def task_of(self, head: str) -> str:
        """The task of a head, or with "" of a classifier of one."""
        return self.heads[head].task if head else self.data.task

    @property
    def students(self) -> list[str]:
        """Names of the students that a run trains."""
        names: list[str] = [mode for mode in MODES if mode in self.distill.modes]
        if self.finetune.finetune_student and "kd" in names and self.data.train:
            names.append("kd_ft")
        return names

    @property
    def needs_teacher(self) -> bool:
        """Whether any student learns from a teacher."""
        return bool(set(self.distill.modes) - {"scratch"})

    @property
    def student_seed(self) -> int:
        """Seed of the student; data are split and the teacher is trained with that of the run."""
        return self.data.seed if self.distill.student_seed < 0 else self.distill.student_seed

    def labelled_parts(self, mode: str) -> list[str]:
        """Parts that a student learns the teacher's distribution on: kd_private knows nothing of train."""
        there = {"corpus": self.data.corpus, "train": self.data.train, "crops": self.label.random_crops}
        return [part for part in _LABELLED[mode] if there[part]]

    def vocabulary_of(self, mode: str) -> str:
        """Which texts are counted: exactly those the student learns from, so kd_private knows no n-gram of train."""
        parts = [part for part in self.labelled_parts(mode) if part != "crops"] or ["train"]
        return "all" if len(parts) == 2 else parts[0]

    def check(self) -> None:
        """Errors: :class:`SettingsError` for settings that do not go together."""
        data, distill, modes = self.data, self.distill, self.distill.modes
        pooling = POOLINGS["mean" if distill.pooling == "auto" else distill.pooling]
        for wrong, message in (
            (
                not data.train and not data.corpus,
                "nothing to learn from: give --corpus (unlabelled texts), --train (labelled ones), or both",
            ),
            (not data.train and "scratch" in modes, "mode scratch learns from gold labels: give --train"),
            (
                not data.corpus and "kd_private" in modes,
                "mode kd_private learns from the corpus alone: give --corpus",
            ),
            (not modes, f"no student is asked for: modes are {', '.join(_LABELLED)}"),
            (bool(data.corpus) and not self.needs_teacher and not self.teach.teacher, UNUSED_CORPUS),
            (
                pooling.needs_embedding and not distill.embedding,
                f"{distill.pooling} pools to twice the table's width, which W1 brings together: give --embedding",
            ),
            (
                pooling.needs_floats and self.compress.rows.startswith("int"),
                f"{distill.pooling} pooling has weights that integer rows are too coarse for: --rows float32",
            ),
            (
                self.count.deobfuscate and not (self.count.normalize and self.count.tokenizer != "sklearn"),
                "--deobfuscate goes with texts in NFC: not with --no-normalize or --tokenizer sklearn",
            ),
            (
                self.count.characters_min > (self.count.characters_max or MOST_CHARACTERS),
                f"character n-grams have {self.count.characters_min} code points or more and at most "
                f"{self.count.characters_max}: give a --characters-max that is not below --characters-min",
            ),
            (
                self.count.hashed and self.count.characters == "unknown",
                "with --hashed every word has a row and none is unknown: --characters all or none",
            ),
            (bool(data.weight) and not data.train, "--weight is a column of train: give --train, or leave it out"),
            *self._of_heads(),
        ):
            if wrong:
                raise SettingsError(message)
        self._check_student()
        if self.label.random_crops:
            self._check_crops()
        if distill.init == "teacher":
            if self.count.hashed:
                raise SettingsError("init teacher needs n-grams that have a row each: not with --hashed")
            if not distill.hidden and not distill.embedding:
                raise SettingsError("init teacher needs rows wider than the logits: give --hidden or --embedding")

    def _of_heads(self) -> tuple[tuple[bool, str], ...]:
        """What does not go with heads, and why not."""
        heads, data, default = self.heads, self.data, Data()
        of_each = ("label", "labels", "label_separator", "task")
        given = [name for name in of_each if heads and getattr(data, name) != getattr(default, name)]
        name = next(iter(heads), "")
        return (
            (bool(given), f"{', '.join(given)} of [data] is of a single head: give it in [heads.{name}] and so on"),
            (bool(heads) and bool(data.class_weights), "--class-weights are of a single head: leave them out"),
            (bool(heads) and data.metric != "auto", "several heads are chosen by the mean of each one's: no --metric"),
            (
                bool(heads) and self.distill.init == "teacher",
                "init teacher asks one transformer for its embeddings: not with heads",
            ),
            (
                bool(heads) and bool(self.teach.teacher) and not any(head.teacher for head in heads.values()),
                f"each head has a teacher of its own: give it in [heads.{name}] and so on",
            ),
        )

    def _check_student(self) -> None:
        distill = self.distill
        linear = distill.student == "linear"
        for wrong, message in (
            (
                linear and bool(self.data.pair),
                "pairs are compared in a layer, which a linear student lacks: no --student linear",
            ),
            (
                linear and "regression" in (self.task, *(head.task for head in self.heads.values())),
                "a linear student learns labels, and a network scores: no --student linear",
            ),
            (
                linear and (distill.embedding > 0 or distill.hidden not in ((), OPEN_HIDDEN)),
                "a linear student has no hidden layer and no W1: --student network, or no --hidden and --embedding",
            ),
            (
                linear and distill.pooling not in ("auto", "sqrtn"),
                f"a linear student pools by sqrtn: --student network, or no --pooling {distill.pooling}",
            ),
            (
                0 in distill.hidden and distill.hidden != OPEN_HIDDEN,
                "a hidden layer is 1 wide or more; --hidden 0 alone leaves its width to the program",
            ),
        ):
            if wrong:
                raise SettingsError(message)

    def _check_crops(self) -> None:
        columns = any(head.column for head in self.heads.values())
        if not self.data.train or "kd" not in self.distill.modes:
            raise SettingsError("random crops are of train, for mode kd: give both, or no --random-crops")
        if columns or self.teach.teacher.startswith("column:"):
            raise SettingsError("random crops are new texts, for which a column has no scores: no --random-crops")
        if self.data.pair:
            raise SettingsError("random crops of a pair are no pair: no --random-crops")


def mode_of(student: str) -> str:
    """The mode that a student was distilled in."""
    return "kd" if student == "kd_ft" else student


UNUSED_CORPUS = (
    "there is a corpus, but no teacher to label it, and without one a student learns from train alone: name a teacher "
    "(--teacher), or leave the corpus out"
)

# Parts that a student of each mode learns the teacher's distribution on.
_LABELLED = {"kd": ("corpus", "train", "crops"), "kd_private": ("corpus",), "scratch": ()}

# The options' classes by the tables of a TOML file.
SECTIONS: dict[str, Any] = {
    section.name: section.default_factory for section in fields(Settings) if section.name != "heads"
}


def sections_with(name: str) -> list[str]:
    """The tables that have a setting of this name."""
    return [section for section, kind in SECTIONS.items() if name in {f.name for f in fields(kind)}]


def default_of(section: str, name: str) -> Any:
    """Default value of a field, which also tells its type."""
    return next(f.default for f in dataclasses.fields(SECTIONS[section]) if f.name == name)


def build(values: dict[str, dict[str, Any]], where: str) -> Settings:
    """Settings from nested dictionaries (TOML, JSON), with defaults for what is not there.

    Errors: :class:`SettingsError` naming ``where`` and the field that is unknown, of a wrong type or not a choice.
    """
    if unknown := [name for name in values if name not in (*SECTIONS, "heads")]:
        raise SettingsError(f"{where}: there is no table [{unknown[0]}]: {', '.join(SECTIONS)}, heads.NAME")
    parts = {section: _section(values.get(section, {}), section, kind, where) for section, kind in SECTIONS.items()}
    parse_bytes(parts["count"].memory)
    parse_time(parts["distill"].max_time)
    return Settings(**parts, heads=_heads(values.get("heads", {}), where))


def _section(values: Any, section: str, kind: Any, where: str) -> Any:
    """The options of a table."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where}: [{section}] is {values!r:.60}, not a table")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    given = {}
    for name, value in values.items():
        if name not in fields:
            raise SettingsError(f"{where}: [{section}] has no field {name}: {', '.join(fields)}")
        given[name] = _checked(value, fields[name], f"{where}: [{section}] {name}")
    return kind(**given)


def _heads(values: Any, where: str) -> dict[str, Head]:
    """The heads: a table of tables, or a list of NAME and NAME=TASK.

    Errors: :class:`SettingsError` for two of one name, and for names that no head can have.
    """
    if isinstance(values, str) or not isinstance(values, Mapping | Sequence):
        raise SettingsError(f"{where}: heads is {values!r:.60}, not tables [heads.NAME] nor a list of NAME=TASK")
    if not isinstance(values, Mapping):
        split = [str(one).strip().rpartition("=") if "=" in str(one) else (str(one).strip(), "", "") for one in values]
        names = [name for name, _, _ in split]
        if twice := [name for name in names if names.count(name) > 1]:
            raise SettingsError(f"{where}: two heads are called {twice[0]!r}: give another name to one")
        values = {name: {"task": task} if task else {} for name, _, task in split}
    for name in values:
        sound = isinstance(name, str) and name and not set(name) & set("./\\\n\t\r\0")
        if not sound or name != name.encode("utf-8", "replace").decode():
            raise SettingsError(f"{where}: {name!r} is no name of a head: give one without dots and slashes")
    values = {name: {"task": one} if isinstance(one, str) else one or {} for name, one in values.items()}
    heads = {name: _section(table, f"heads.{name}", Head, where) for name, table in values.items()}
    return {name: dataclasses.replace(head, label=head.label or (name,)) for name, head in heads.items()}


def _checked(value: Any, known: dataclasses.Field[Any], where: str) -> Any:
    default, choices = known.default, known.metadata["choices"]
    if isinstance(default, tuple):
        if isinstance(value, str | int) and not isinstance(value, bool):
            value = (value,)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise SettingsError(f"{where} is {value!r}, not a list")
        item = type(default[0]) if default else str
        if not all(isinstance(v, item) and not isinstance(v, bool) for v in value):
            raise SettingsError(f"{where} is {value!r}, not a list of {'whole numbers' if item is int else 'strings'}")
        value = tuple(value)
    elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    elif type(value) is not type(default):
        raise SettingsError(f"{where} is {value!r}, not {_kind(default)}")
    if choices and (wrong := [v for v in (value if isinstance(value, tuple) else (value,)) if v not in choices]):
        raise SettingsError(f"{where} is {wrong[0]!r}, not one of {', '.join(choices)}")
    least, most = known.metadata["least"], known.metadata["most"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not isinstance(number, bool) and not least <= number <= most:
            bound = f"at least {least}" if number < least else f"at most {most}"
            raise SettingsError(f"{where} is {number}: give {bound}")
    return value


def _kind(default: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}[type(default)]


def parse_bytes(text: str) -> int:
    """Bytes of a size such as "500MB" or "4GB" (powers of ten). Errors: :class:`SettingsError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if not match:
        raise SettingsError(f"{text!r} is not a size of memory: write it like 500MB or 4GB")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2] or " "))


def parse_time(text: str) -> float:
    """Seconds of a time such as "90s", "45m", "1.5h" or "2d"; no text is no limit. Errors: :class:`SettingsError`."""
    if not text.strip():
        return float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    if not match or not float(match[1]):
        raise SettingsError(f"{text!r} is not a time: write it like 45m or 8h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def parse_value(text: Any, default: Any) -> Any:
    """A setting's value from the command line, of the type of its default; left as it is where it does not parse.

    A list of words, which a shell has split, stays as it is. Text is a value of TOML, else a bare string; of a setting
    that is a list, a bare string is its items, separated by commas (numbers also by spaces).

    Errors: :class:`SettingsError` for quotes or brackets that are no TOML.
    """
    if isinstance(default, tuple):
        numbers = bool(default) and isinstance(default[0], int)
        items = text if not isinstance(text, str) else _items(text, numbers)
        return [int(item) if numbers and str(item).isdecimal() else item for item in items]
    if isinstance(default, bool):
        return {"true": True, "on": True, "false": False, "off": False}.get(text.lower(), text)
    if isinstance(default, str):
        if text[:1] in ('"', "'") and text[-1:] == text[0]:
            value = _toml_value(text)
            return value if isinstance(value, str) else text
        return text
    try:
        return type(default)(text)
    except ValueError:
        return text


def _items(text: str, numbers: bool) -> list[Any]:
    """The items of a list, written as TOML or without quotes."""
    text = text.strip()
    inside = text[1:-1] if text[:1] + text[-1:] == "[]" else text
    value = _toml_value(text)
    if not isinstance(value, list):
        value = _toml_value(f"[{text}]") if text[:1] in ('"', "'") else value
    if isinstance(value, list):  # an integer may be the name of a label
        return [str(item) if type(item) is int and not numbers else item for item in value]
    if text[:1] in ('"', "'") or (text[:1] == "[" and ('"' in text or "'" in text)):
        raise SettingsError(f'{text} is no list of TOML: write it like ["a", "b"], in single quotes for the shell')
    parts = inside.replace(",", " ").split() if numbers else map(str.strip, inside.split(","))
    return [part for part in parts if part]


def _toml_value(text: str) -> Any:
    """The value that ``text`` is in TOML, None where it is none."""
    toml = toml_module()
    try:
        table = toml.loads(f"value = {text}")
    except toml.TOMLDecodeError:
        return None
    return table["value"] if len(table) == 1 else None


def toml_module() -> Any:
    """The parser of TOML."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        return require("tomli", "train")
    return tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file. Errors: :class:`SettingsError` when it is absent or not TOML."""
    toml = toml_module()
    if not path.is_file():
        raise SettingsError(f"{path} is not there")
    data = path.read_bytes()
    try:  # editors on Windows save with a byte order mark, or in UTF-16
        text = data.decode(encoding_of(data) or "utf-8-sig").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}; save it as UTF-8") from None
    try:
        result: dict[str, Any] = toml.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
        return result
    except toml.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
