"""Prediction over files: N in, N out, in order, with every column as it was; and what is refused before the work."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import make_parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier
from sparsedistill.data import files
from sparsedistill.data import records as data
from sparsedistill.errors import DataError, MissingExtraError, SettingsError
from sparsedistill.predict import FILES, predict

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXTS = [
    "The film was not bad at all", "", 'she said "good",\nand\r"bad"\ttwice, \r\n', "Größe 🙂 映画 was good good good",
    "schlecht", "nothing known here", "Das war nicht schlecht", "good, good, good",
]  # fmt: skip
LABELS = ["label 0", "label 1", "label 2"]
INPUTS = [".parquet", ".arrow", ".feather", ".jsonl", ".csv", ".tsv", ".csv.gz", ".jsonl.zst"]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory) -> dict[str, Path]:
    """Folders of one classifier a task."""
    home = tmp_path_factory.mktemp("classifiers")
    for task, labels in (("single", 3), ("multi", 3), ("regression", 1)):
        Classifier(*make_parts(task, labels=labels)).save(home / task)
    return {task: home / task for task in ("single", "multi", "regression")}


@pytest.fixture(scope="module")
def single(classifiers) -> Classifier:
    return Classifier.load(classifiers["single"])


def rows(texts=TEXTS) -> list[dict]:
    return [{"id": i, "text": text, "label": f"gold, {i % 2}", "score": i / 4} for i, text in enumerate(texts)]


def write(path: Path, records: list[dict] | None = None) -> str:
    """``records`` in the format that ``path`` names."""
    import gzip

    import zstandard

    records = rows() if records is None else records
    kind = path.name.split(".")[1]
    if kind in ("parquet", "arrow", "feather"):
        table = pa.Table.from_pylist(records)
        if kind == "parquet":
            parquet.write_table(table, path, row_group_size=3)
        else:
            new = pa.ipc.new_stream if kind == "arrow" else pa.ipc.new_file
            with new(path, table.schema) as out:
                out.write_table(table, max_chunksize=3)
        return str(path)
    text = io.StringIO(newline="")
    if kind == "jsonl":
        text.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    else:
        writer = csv.DictWriter(text, list(records[0]), delimiter="," if kind == "csv" else "\t")
        writer.writeheader()
        writer.writerows(records)
    data = text.getvalue().encode()
    path.write_bytes({".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, lambda b: b)(data))
    return str(path)


def read(path: Path, quoted: bool = False) -> list[dict]:
    """The records of a file that was written, by readers of others; TSV may be ``quoted``."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all().to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    with open(path, encoding="utf-8", newline="") as file:
        if path.suffix == ".csv" or quoted:
            return list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t", strict=True))
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def run(*arguments, stdin: str | bytes = b"", code: str = "") -> subprocess.CompletedProcess:
    command = ["-c", code] if code else ["-m", "sparsedistill", "predict"]
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        cwd=tempfile.gettempdir(),  # not here, where the sources would hide the installed package
        timeout=120,
    )


# -- what comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", INPUTS)
@pytest.mark.parametrize("out", FILES)
def test_every_format_into_every_format(single, tmp_path, suffix, out):
    source, path = write(tmp_path / f"in{suffix}"), tmp_path / f"out{out}"
    predict(single, [source], str(path), proba=True, top_k=2, quoting="double")
    found, given, chances = read(path, quoted=True), rows(), single.predict_proba(TEXTS)
    names = ["id", "text", "label", "score", "predicted", "probability", *(f"p({label})" for label in LABELS)]
    assert [list(record) for record in found] == [[*names, "top_labels", "top_probabilities"]] * len(TEXTS)
    assert [record["text"] for record in found] == TEXTS
    assert [record["label"] for record in found] == [record["label"] for record in given]
    for name in ("id", "score"):
        assert [float(record[name]) for record in found] == [record[name] for record in given]
    assert [record["predicted"] for record in found] == single.predict(TEXTS)
    np.testing.assert_allclose([float(record["probability"]) for record in found], chances.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        [[float(record[f"p({label})"]) for label in LABELS] for record in found], chances, rtol=1e-5
    )
    best = np.argsort(-chances, axis=1)[:, :2]
    for record, order, row in zip(found, best, chances):
        labels, top = record["top_labels"], record["top_probabilities"]
        if out in (".csv", ".tsv"):
            labels, top = labels.split(","), [float(part) for part in top.split(",")]
        assert labels == [LABELS[i] for i in order]
        np.testing.assert_allclose(top, row[order], rtol=1e-5)
    assert sorted(os.listdir(tmp_path)) == sorted([Path(source).name, path.name])  # no temporary file is left


def test_types_of_parquet_and_arrow_are_kept(single, tmp_path):
    when = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456)
    columns = {
        "text": pa.array(TEXTS, pa.large_string()),
        "nested": pa.array([{"a": [1, None], "b": {"c": "x"}}, None] * 4),
        "lists": pa.array([["a"], [], None, ["b", None]] * 2, pa.list_(pa.string())),
        "map": pa.array([[("k", 1)]] * 8, pa.map_(pa.string(), pa.int32())),
        "ns": pa.array([when] * 8, pa.timestamp("ns", "Europe/Berlin")),
        "date": pa.array([when.date()] * 8, pa.date32()),
        "time": pa.array([when.time()] * 8, pa.time64("us")),
        "span": pa.array([datetime.timedelta(seconds=3)] * 8, pa.duration("ms")),
        "decimal": pa.array([decimal.Decimal("1.20")] * 8, pa.decimal128(9, 2)),
        "category": pa.array(["x", "y", None, "x"] * 2).dictionary_encode(),
        "bytes": pa.array([b"\xff\x00"] * 8, pa.binary()),
        "small": pa.array(range(8), pa.uint8()),
        "float": pa.array([0.5, float("nan"), None, 1e-300] * 2),
        "yes": pa.array([True, None] * 4),
        "nothing": pa.nulls(8),
    }
    fields = [pa.field(name, array.type, nullable=name != "small") for name, array in columns.items()]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, {"made by": "a test"}))
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    predict(single, [str(tmp_path / "in.parquet")], str(tmp_path / "out.parquet"))
    before, after = parquet.read_table(tmp_path / "in.parquet"), parquet.read_table(tmp_path / "out.parquet")
    kept = after.select(before.schema.names)
    assert kept.schema.equals(before.schema, check_metadata=True)
    assert kept.to_pylist()[0] == before.to_pylist()[0]
    assert kept.drop_columns(["float"]).equals(before.drop_columns(["float"]))
    assert after.schema.field("predicted").type == pa.string()
    assert after.schema.field("probability").type == pa.float64()

    predict(single, [str(tmp_path / "out.parquet")], str(tmp_path / "out.arrow"), prefix="again_")
    after = pa.ipc.open_file(tmp_path / "out.arrow").read_all()
    assert after.schema.names == [*columns, "predicted", "probability", "again_predicted", "again_probability"]
    for field in before.schema:  # such a file has no room for a dictionary a piece
        kind = pa.string() if field.name == "category" else field.type
        assert after.schema.field(field.name).type == kind
    assert after["category"].to_pylist() == before["category"].to_pylist()
    assert after["predicted"].equals(after["again_predicted"])


def test_pandas_reads_its_own_columns_back(single, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "kind": pandas.Categorical(["a", "b"] * 4)}, index=range(10, 18))
    frame.to_parquet(tmp_path / "in.parquet")
    predict(single, [str(tmp_path / "in.parquet")], str(tmp_path / "out.parquet"))
    back = pandas.read_parquet(tmp_path / "out.parquet")
    pandas.testing.assert_frame_equal(back[["text", "kind"]], frame)
    assert back["predicted"].tolist() == single.predict(TEXTS)


def test_arrow_values_as_text(single, tmp_path):
    when = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
    table = pa.table({
        "text": pa.array(["not bad", "film"], pa.binary_view()),
        "ns": pa.array([when, None], pa.timestamp("ns", "UTC")),
        "decimal": pa.array([decimal.Decimal("1.20"), None]),
        "float": pa.array([float("nan"), 1e-7]),
        "yes": pa.array([True, False]),
        "category": pa.array(["x", None]).dictionary_encode(),
        "none": pa.nulls(2),
    })  # fmt: skip
    nested = table.append_column("nested", pa.array([{"at": [when], "b": b"\xff"}, None]))
    with pa.ipc.new_file(tmp_path / "in.arrow", nested.schema) as out:
        out.write_table(nested)
    source = str(tmp_path / "in.arrow")
    predict(single, [source], str(tmp_path / "out.jsonl"))
    found = read(tmp_path / "out.jsonl")
    for record in found:
        del record["predicted"], record["probability"]
    assert found == [
        {"text": "not bad", "ns": "2024-02-29 12:30:00.000000000Z", "decimal": "1.20", "float": None, "yes": True,
         "category": "x", "none": None, "nested": {"at": ["2024-02-29 12:30:00+00:00"], "b": "\\xff"}},
        {"text": "film", "ns": None, "decimal": None, "float": 1e-7, "yes": False,
         "category": None, "none": None, "nested": None},
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"column 'nested' of .*in\.arrow is struct.*csv cannot hold: .*--keep"):
        predict(single, [source], str(tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()
    predict(single, [source], str(tmp_path / "out.csv"), keep=table.schema.names)
    assert [list(record.values())[:-2] for record in read(tmp_path / "out.csv")] == [
        ["not bad", "2024-02-29 12:30:00.000000000Z", "1.20", "nan", "true", "x", ""],
        ["film", "", "", "1e-7", "false", "", ""],
    ]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    ['"', '""', ",", "\t", "\r", "\n", "\r\n", "a\rb", " ", "'", "\ufeff", "\u2028", "1.0", "007", "é"]
)
tables = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        st.lists(cells, min_size=width, max_size=width, unique=True),
        st.lists(st.lists(cells, min_size=width + 1, max_size=width + 1), max_size=6),
    )
)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables)
def test_csv_is_kept_verbatim(single, tmp_path, suffix, table):
    header, body = table
    header = ["text", *(name for name in header if name not in ("text", "predicted", "probability"))]
    body = [row[: len(header)] for row in body]
    comma = "," if suffix == ".csv" else "\t"
    with open(tmp_path / f"in{suffix}", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=comma, quoting=csv.QUOTE_ALL).writerows([header, *body])
    predict(single, [str(tmp_path / f"in{suffix}")], str(tmp_path / f"out{suffix}"), quoting="double")
    with open(tmp_path / f"out{suffix}", encoding="utf-8", newline="") as file:
        found = list(csv.reader(file, delimiter=comma, strict=True))
    assert [row[:-2] for row in found] == [header, *body]
    assert [row[-2] for row in found[1:]] == single.predict([row[0] for row in body])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(max_size=3), json_values, max_size=4), max_size=5), st.booleans())
def test_json_objects_are_kept(single, tmp_path, records, ascii):
    records = [record | {"text": f"film {i}"} for i, record in enumerate(records)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(r, ensure_ascii=ascii) + "\n" for r in records), "utf-8")
    predict(single, [str(tmp_path / "in.jsonl")], str(tmp_path / "out.jsonl"))
    found = read(tmp_path / "out.jsonl")
    assert [record.pop("predicted") for record in found] == single.predict([r["text"] for r in records])
    assert [list(record) for record in found] == [[*record, "probability"] for record in records]
    assert [{k: v for k, v in record.items() if k != "probability"} for record in found] == records


def test_json_has_the_types_of_all_its_records(single, tmp_path):
    many = [{"text": "film", "n": 1, "tags": []} for _ in range(20_000)]
    many += [{"text": "bad", "n": 0.5, "tags": ["a"], "late": {"x": "y"}}, {"text": "good", "n": None}]
    source = write(tmp_path / "in.jsonl", many)
    predict(single, [source], str(tmp_path / "out.parquet"))
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found.num_rows == len(many)
    assert found.schema.field("n").type == pa.float64()
    assert found.schema.field("tags").type == pa.list_(pa.string())
    assert found["late"].to_pylist()[-3:] == [None, {"x": "y"}, None]
    predict(single, [source], str(tmp_path / "out.csv"), keep=["n"])
    assert [record["n"] for record in read(tmp_path / "out.csv")][-3:] == ["1", "0.5", ""]
    for out, message in (
        (".csv", r"column 'tags' of .*in\.jsonl:1 is list, which csv cannot hold"),
        (".parquet", r"column 'n' of .*\(rows 16385 to 20003\) cannot be written as one type: .*--keep"),
    ):
        write(tmp_path / "in.jsonl", [*many, {"text": "film", "n": "three", "tags": []}])
        with pytest.raises(DataError, match=message):
            predict(single, [source], str(tmp_path / f"new{out}"))
    assert not list(tmp_path.glob("new*"))


def test_lines_and_fasttext(single, tmp_path):
    (tmp_path / "a.txt").write_text("not bad\n\ngood film\n")
    (tmp_path / "b.ft").write_text("__label__x not bad\n__label__x __label__y good\n")
    predict(single, [str(tmp_path / "a.txt")], str(tmp_path / "out.jsonl"), text="body")
    assert [record["body"] for record in read(tmp_path / "out.jsonl")] == ["not bad", "", "good film"]
    predict(single, [str(tmp_path / "b.ft")], str(tmp_path / "out.csv"))
    assert [list(record.values())[:2] for record in read(tmp_path / "out.csv")] == [["x", "not bad"], ["x,y", "good"]]


@pytest.mark.parametrize("out", FILES)
def test_other_tasks(classifiers, tmp_path, out):
    source, path = write(tmp_path / "in.jsonl"), tmp_path / f"out{out}"
    multi = Classifier.load(classifiers["multi"])
    predict(multi, [source], str(path), keep=["id"], top_k=9)
    found, table = read(path), out in (".csv", ".tsv")
    assert list(found[0]) == ["id", "predicted", "top_labels", "top_probabilities"]
    expected = multi.predict(TEXTS)
    assert len({tuple(labels) for labels in expected}) > 2
    assert [record["predicted"] for record in found] == [",".join(e) if table else e for e in expected]
    chances = -np.sort(-multi.predict_proba(TEXTS), axis=1)
    top = [record["top_probabilities"] for record in found]
    np.testing.assert_allclose([[float(p) for p in (t.split(",") if table else t)] for t in top], chances, rtol=1e-5)
    regression = Classifier.load(classifiers["regression"])
    predict(regression, [source], str(path), keep=[])
    assert [list(record) for record in read(path)] == [["predicted"]] * len(TEXTS)
    scores = [float(record["predicted"]) for record in read(path)]
    np.testing.assert_allclose(scores, regression.predict(TEXTS), rtol=1e-5)


@pytest.mark.parametrize("suffix", INPUTS)
def test_columns_to_keep(single, tmp_path, suffix):
    source = write(tmp_path / f"in{suffix}")
    predict(single, [source], str(tmp_path / "out.csv"), keep=["label", "id"], quoting="double")
    assert list(read(tmp_path / "out.csv")[0]) == ["id", "label", "predicted", "probability"]  # in the file's order
    predict(single, [source], str(tmp_path / "out.jsonl"), keep=[], quoting="double")
    assert [list(record) for record in read(tmp_path / "out.jsonl")] == [["predicted", "probability"]] * len(TEXTS)
    predict(single, [source], str(tmp_path / "out.parquet"), keep=[], quoting="double")
    assert parquet.read_table(tmp_path / "out.parquet").schema.names == ["predicted", "probability"]
    for out in FILES:
        with pytest.raises(DataError, match=r"in\S* has no column 'nope'.*with --keep"):
            predict(single, [source], str(tmp_path / f"new{out}"), keep=["id", "nope"], quoting="double")
    with pytest.raises(DataError, match=r"in\S* has no column 'nope'.*with --text"):
        predict(single, [source], str(tmp_path / "new.jsonl"), text="nope", quoting="double")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_texts_without_a_known_ngram_are_counted(classifiers, tmp_path, capsys, suffix):
    source = write(tmp_path / f"in{suffix}")
    predict(Classifier.load(classifiers["multi"]), [source], str(tmp_path / "out.jsonl"))
    place = "in.parquet row 2" if suffix == ".parquet" else "in.csv:3"
    assert f"2 of 8 texts had no known n-gram (the first: {tmp_path}/{place})" in capsys.readouterr().err
    known = write(tmp_path / f"known{suffix}", rows([text for text in TEXTS if text not in ("", "nothing known here")]))
    predict(Classifier.load(classifiers["multi"]), [known], str(tmp_path / "out.jsonl"))
    assert capsys.readouterr().err == ""


def test_a_text_that_scores_as_the_empty_one_may_have_known_ngrams(tmp_path, capsys):
    config, tensors = make_parts()
    Classifier(config, {**tensors, "rows": np.zeros_like(tensors["rows"])}).save(tmp_path / "still")
    source = write(tmp_path / "in.csv", rows([*TEXTS, None]))
    predict(Classifier.load(tmp_path / "still"), [source], str(tmp_path / "out.jsonl"), nulls="empty")
    assert "3 of 9 texts had no known n-gram" in capsys.readouterr().err


def test_files_follow_one_another(single, tmp_path):
    names = ["c.parquet", "a.csv", "b.jsonl", "d.feather"]
    parts = [[{"text": f"film {i} {'good ' * (i % 5)}", "id": str(i)} for i in range(a, a + 7)] for a in (0, 7, 14, 21)]
    parts[1] = [dict(reversed(record.items())) for record in parts[1]]  # another order of columns is no other table
    sources = [write(tmp_path / name, part) for name, part in zip(names, parts)]
    (tmp_path / "empty.jsonl").touch()
    for out in FILES:
        predict(single, [*sources, str(tmp_path / "empty.jsonl")], str(tmp_path / f"out{out}"))
        found = read(tmp_path / f"out{out}")
        assert [record["id"] for record in found] == [str(i) for i in range(28)]
        assert [record["predicted"] for record in found] == single.predict([record["text"] for record in found])


@pytest.mark.parametrize("suffix", INPUTS)
@pytest.mark.parametrize("out", FILES)
def test_no_text_is_no_record(single, tmp_path, suffix, out):
    if suffix.startswith((".jsonl", ".csv", ".tsv")):
        source = str(tmp_path / f"in{suffix.removesuffix('.gz').removesuffix('.zst')}")
        Path(source).write_text("" if "jsonl" in suffix else "text,id\n" if "csv" in suffix else "text\tid\n")
    else:
        source, table = str(tmp_path / f"in{suffix}"), pa.table({"text": pa.array([], pa.string()), "id": []})
        if suffix == ".parquet":
            parquet.write_table(table, source)
        else:
            with pa.ipc.new_file(source, table.schema) as file:
                file.write_table(table)
    path = tmp_path / f"out{out}"
    predict(single, [source], str(path))
    assert read(path) == []
    names = ["predicted", "probability"] if "jsonl" in suffix else ["text", "id", "predicted", "probability"]
    if out in (".csv", ".tsv"):
        assert path.read_text() == ("," if out == ".csv" else "\t").join(names) + "\n"
    elif out == ".parquet":
        assert parquet.read_schema(path).names == names


def test_hugging_face_dataset(single, tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    made = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 4}, features)
    made.save_to_disk(tmp_path / "saved")
    predict(single, [f"hf:{tmp_path}/saved"], str(tmp_path / "out.parquet"))
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found["text"].to_pylist() == TEXTS and found["predicted"].to_pylist() == single.predict(TEXTS)
    assert datasets.Features.from_arrow_schema(found.schema)["label"] == features["label"]


# -- nulls and bytes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".jsonl"])
@pytest.mark.parametrize("nothing", [False, True])
def test_nulls(single, tmp_path, suffix, nothing):
    texts = [None] * 6 if nothing else ["film", "bad", "good", "", None, "not bad"]
    source = write(tmp_path / f"in{suffix}", [{"text": text, "id": i} for i, text in enumerate(texts)])
    place = rf"text \(column 'text'\) at .*in{suffix}(:| row ){1 if nothing else 5}"
    with pytest.raises(DataError, match=rf"{place} is null; .*--nulls empty"):
        predict(single, [source], str(tmp_path / "out.jsonl"))
    assert not (tmp_path / "out.jsonl").exists()
    for out in FILES:
        predict(single, [source], str(tmp_path / f"out{out}"), nulls="empty")
        found = read(tmp_path / f"out{out}")
        assert [record["predicted"] for record in found] == single.predict([text or "" for text in texts])
        kept = [text or "" for text in texts] if out in (".csv", ".tsv") else texts
        assert [record["text"] for record in found] == kept


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()], ids=str)
@pytest.mark.parametrize("encoded", [False, True])
def test_invalid_utf8(single, tmp_path, kind, encoded):
    raw = pa.array([b"film", b"not \xff\xfe bad", None, b"\xed\xa0\x80 good"], pa.binary())
    if kind in (pa.large_string(), pa.large_binary()):
        raw = raw.cast(pa.large_binary())
    array = pa.Array.from_buffers(kind, 4, raw.buffers())
    table = pa.table({"text": array.dictionary_encode() if encoded else array, "n": range(4)})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    source = str(tmp_path / "in.parquet")
    with pytest.raises(
        DataError, match=r"column 'text' at .*in\.parquet row 2 is not valid UTF-8; .*--encoding-errors"
    ):
        predict(single, [source], str(tmp_path / "out.parquet"), nulls="empty")
    replaced = [None if text is None else text.decode("utf-8", "replace") for text in raw.to_pylist()]
    expected = single.predict([text or "" for text in replaced])
    for out in FILES:
        predict(single, [source], str(tmp_path / f"out{out}"), nulls="empty", encoding_errors="replace")
        if out == ".parquet":  # the bytes themselves
            found = parquet.read_table(tmp_path / "out.parquet")
            assert found.schema.field("text").type == parquet.read_schema(source).field("text").type
            assert found["predicted"].to_pylist() == expected
        elif out != ".arrow":
            found = read(tmp_path / f"out{out}")
            assert [record["predicted"] for record in found] == expected
            assert [record["text"] or None for record in found] == replaced


def test_half_surrogate_pairs(single, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "film", "a": "\\ud83d\\ude42"}\n{"text": "bad", "a": "x\\ud83d"}\n')
    source = str(tmp_path / "in.jsonl")
    for out in FILES:
        with pytest.raises(DataError, match=r"in\.jsonl:2 has half a surrogate pair .*--encoding-errors replace"):
            predict(single, [source], str(tmp_path / f"out{out}"))
        predict(single, [source], str(tmp_path / f"out{out}"), keep=["text"])
        predict(single, [source], str(tmp_path / f"out{out}"), encoding_errors="replace")
        assert [record["a"] for record in read(tmp_path / f"out{out}")] == ["🙂", "x\ufffd"]


# -- N in, N out, whatever the file holds -------------------------------------------------------------------------


plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=10)
plain_cells = plain_text | st.sampled_from(['"', '"a', 'a"', '""', '"a""b"', "a\tb", "a\nb", "a\r", "\r\n", "'", ""])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(plain_cells, plain_cells), max_size=6))
def test_what_tsv_holds_reads_back_and_the_rest_is_refused(single, tmp_path, records):
    source = write(
        tmp_path / "in.jsonl", [{"text": text, "id": name} for text, name in records] or [{"text": "", "id": ""}]
    )
    records = records or [("", "")]
    out = tmp_path / "out.tsv"
    out.unlink(missing_ok=True)
    if any(sign in cell for record in records for cell in record for sign in "\t\r\n"):
        with pytest.raises(
            DataError, match=r"column '(text|id)' at .*in\.jsonl:\d+ has a tab or a line end.*--quoting double"
        ):
            predict(single, [source], str(out))
        assert not out.exists()
        predict(single, [source], str(out), quoting="double")
        form = files.Form(quoting="double")
    else:
        predict(single, [source], str(out))
        form = files.AUTO
    records = [record for record in records if record != ("text", "id")]  # the header once more
    found = list(data.Reader([str(out)], columns=["id"], form=form))
    assert [text for batch in found for text in batch.texts] == [text for text, _ in records]
    assert [name for batch in found for name in batch.named("id")] == [name for _, name in records]
    assert out.read_bytes().count(b"\n") >= len(records) + 1


def test_tsv_keeps_its_quotes_and_its_records(single, tmp_path):
    source = tmp_path / "in.tsv"
    source.write_text('text\tlabel\n"Good value\tpos\nawful service"\tneg\nlovely\tpos\n')
    predict(single, [str(source)], str(tmp_path / "out.tsv"))
    lines = (tmp_path / "out.tsv").read_text().split("\n")
    assert [line.rsplit("\t", 2)[0] for line in lines[:-1]] == source.read_text().split("\n")[:-1]
    predict(single, [str(source)], str(tmp_path / "out.csv"))
    assert [record["text"] for record in read(tmp_path / "out.csv")] == ['"Good value', 'awful service"', "lovely"]


def test_a_header_that_tsv_cannot_hold(single, tmp_path):
    source = write(tmp_path / "in.jsonl", [{"text": "film", "a\tb": 1}])
    with pytest.raises(DataError, match=r"column 'a\\tb' at the header has a tab"):
        predict(single, [source], str(tmp_path / "out.tsv"))


def test_options_of_reading(single, tmp_path):
    (tmp_path / "a.dat").write_text("1;'film'\n2;not bad\n")
    options = {"input_format": "csv", "delimiter": ";", "header": False, "text": "2"}
    predict(single, [str(tmp_path / "a.dat")], str(tmp_path / "out.csv"), **options)
    found = read(tmp_path / "out.csv")
    assert [list(record.values())[:2] for record in found] == [["1", "'film'"], ["2", "not bad"]]
    assert [record["predicted"] for record in found] == single.predict(["'film'", "not bad"])
    (tmp_path / "b.csv").write_text('text\n"film\n')
    predict(single, [str(tmp_path / "b.csv")], str(tmp_path / "out.jsonl"), quoting="none")
    assert [record["text"] for record in read(tmp_path / "out.jsonl")] == ['"film']


def test_what_is_no_record_gives_no_result(single, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("text,label\ngood,pos\ntext,label\nbad,neg\n")
    predict(single, [str(tmp_path / "a.csv")], str(tmp_path / "out.jsonl"))
    assert [record["text"] for record in read(tmp_path / "out.jsonl")] == ["good", "bad"]
    assert "1 repeated header was left out (the first at line 3)" in capsys.readouterr().err
    (tmp_path / "b.txt").write_text("__label__a good\n\n__label__b bad\n")
    predict(single, [str(tmp_path / "b.txt")], str(tmp_path / "out.jsonl"))
    assert [record["text"] for record in read(tmp_path / "out.jsonl")] == ["good", "", "bad"]
    (tmp_path / "c.json").write_text('[{"text": "good", "id": 1},\n {"text": "bad", "id": 2}]')
    for out in FILES:
        predict(single, [str(tmp_path / "c.json")], str(tmp_path / f"out{out}"))
        assert [(record["text"], int(record["id"])) for record in read(tmp_path / f"out{out}")] == [
            ("good", 1),
            ("bad", 2),
        ]
    (tmp_path / "d.jsonl").write_text('{"text": NaN}\n{"text": "bad"}\n')
    with pytest.raises(DataError, match=r"d\.jsonl:1 is null; .*--nulls empty"):
        predict(single, [str(tmp_path / "d.jsonl")], str(tmp_path / "out.jsonl"))
    predict(single, [str(tmp_path / "d.jsonl")], str(tmp_path / "out.jsonl"), nulls="empty")
    assert [record["predicted"] for record in read(tmp_path / "out.jsonl")] == single.predict(["", "bad"])


@pytest.mark.parametrize(
    ("stdin", "options", "texts"),
    [
        ('id,body\n1,"good film\nreally"\n2,bad film\n', ("--text", "body"), "--input-format csv"),
        ("text,id\ngood,1\n", (), "--input-format csv"),
        ("good\nbad\n", ("--keep", "id", "--format", "jsonl"), "--input-format"),
        ('id,body\n1,"good\nfilm"\n2,bad\n', ("--text", "body", "--input-format", "csv"), ["good\nfilm", "bad"]),
        ("1;good\n", ("--input-format", "csv", "--delimiter", ";", "--no-header", "--text", "2"), ["good"]),
        ("text,id\ngood,1\n", ("--input-format", "lines"), ["text,id", "good,1"]),
        ('"good\tpos\nbad"\tneg\n', ("--input-format", "tsv", "--no-header", "--text", "1"), ['"good', 'bad"']),
        ("{name}, thanks\ngood\n", (), ["{name}, thanks", "good"]),
        ('[{"text": "good"}, {"text": "bad"}]', (), ["good", "bad"]),
        ("__label__a b\n\n", ("--input-format", "fasttext"), ["b", ""]),
        ("__label__a b\n\n", ("--input-format", "lines"), ["__label__a b", ""]),
    ],
)  # fmt: skip
def test_n_texts_on_stdin_are_n_results_or_a_refusal(classifiers, single, stdin, options, texts):
    done = run(classifiers["single"], *options, stdin=stdin)
    if isinstance(texts, str):
        assert done.returncode == 2 and done.stdout == b"" and texts in done.stderr.decode()
    else:
        assert done.returncode == 0, done.stderr
        assert [line.split("\t")[0] for line in done.stdout.decode().splitlines()] == single.predict(texts)


# -- what is refused before the work ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "out.xlsx"}, r"out\.xlsx: the name must end in one of \.parquet, \.arrow, \.jsonl, \.csv, \.tsv"),
        ({"output": "out"}, "must end in one of"),
        ({"output": "folder.csv"}, r"folder\.csv is a folder: name a file"),
        ({"output": "in.jsonl"}, r"in\.jsonl is also an input: give it another name"),
        ({"output": "link.jsonl"}, r"link\.jsonl is also an input"),
        ({"top_k": 0}, "--top-k is 0: give 1 or more"),
        ({"threads": -1}, "--threads is -1: give 0 for all processors"),
        ({"output": None, "keep": ["id"]}, "lines are the results alone: to --keep columns beside them, add --output"),
        ({"task": "regression", "top_k": 1}, "a regression classifier has no labels: leave out --top-k"),
        ({"task": "regression", "proba": True}, "a regression classifier has no labels: leave out --proba"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(classifiers, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.jsonl")
    os.link("in.jsonl", "link.jsonl")
    os.mkdir("folder.csv")
    options = {"output": "out.csv", "task": "single"} | options
    with pytest.raises(SettingsError, match=message):
        predict(Classifier.load(classifiers[options.pop("task")]), ["in.jsonl"], options.pop("output"), **options)
    assert sorted(os.listdir()) == ["folder.csv", "in.jsonl", "link.jsonl"]


def test_labels_that_cannot_be_set_apart(parts, tmp_path):
    config, tensors = parts("multi")
    config["labels"][1] = "this, that"
    multi, source = Classifier(config, tensors), write(tmp_path / "in.jsonl")
    with pytest.raises(SettingsError, match="label 'this, that' has a ',', which parts the results in csv:"):
        predict(multi, [source], str(tmp_path / "out.csv"))
    predict(multi, [source], str(tmp_path / "out.jsonl"))
    assert [record["predicted"] for record in read(tmp_path / "out.jsonl")] == multi.predict(TEXTS)
    config["labels"][1] = "this\tthat"
    with pytest.raises(SettingsError, match=r"has a '\\t', which parts the results in lines"):
        predict(Classifier({**config, "task": "single"}, tensors), [source])


@pytest.mark.parametrize("suffix", INPUTS)
@pytest.mark.parametrize("out", FILES)
def test_results_do_not_take_the_place_of_columns(single, tmp_path, suffix, out):
    records = [record | {"probability": 1.5} for record in rows()]
    source, path = write(tmp_path / f"in{suffix}", records), tmp_path / f"out{out}"
    with pytest.raises(DataError, match=r"in\S* has a column 'probability' already: .*--prefix.*--keep"):
        predict(single, [source], str(path), quoting="double")
    predict(single, [source], str(path), prefix="new ", quoting="double")
    assert list(read(path, quoted=True)[0])[-3:] == ["probability", "new predicted", "new probability"]
    predict(single, [source], str(path), keep=["id"], quoting="double")
    assert list(read(path, quoted=True)[0]) == ["id", "predicted", "probability"]


def test_a_late_clash_in_json(single, tmp_path):
    source = write(tmp_path / "in.jsonl", [{"text": "film"}, {"text": "bad", "predicted": "x"}])
    with pytest.raises(DataError, match=r"in\.jsonl:2 has a column 'predicted' already"):
        predict(single, [source], str(tmp_path / "out.jsonl"))
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (pa.table({"text": ["film"]}), r"b\.parquet has no column 'n', which .*a\.parquet has: .*--keep"),
        (pa.table({"text": ["film"], "n": [1], "m": [2]}), r"a\.parquet has no column 'm', which .*b\.parquet has"),
        (
            pa.table({"text": ["film"], "n": ["1"]}),
            r"'n' is string in .*b\.parquet, but int64 in .*a\.parquet: convert",
        ),
        (pa.table({"text": ["film"], "n": [1.5]}), r"'n' is double in .*b\.parquet, but int64 in .*a\.parquet"),
        (pa.table({"text": [1], "n": [1]}), r"column 'text' of .*b\.parquet holds int64, not strings"),
        (pa.table({"body": ["film"], "n": [1]}), r"b\.parquet has no column 'text'; it has 'body', 'n'"),
    ],
)
def test_files_that_do_not_go_together(single, tmp_path, monkeypatch, second, message):
    parquet.write_table(pa.table({"text": ["film"] * 9, "n": range(9)}), tmp_path / "a.parquet")
    parquet.write_table(second, tmp_path / "b.parquet")
    scored = monkeypatch.setattr(Classifier, "decision_function", lambda *_: pytest.fail("this is too late"))
    with pytest.raises(DataError, match=message):
        predict(single, [str(tmp_path / "?.parquet")], str(tmp_path / "out.parquet"))
    assert scored is None and not (tmp_path / "out.parquet").exists()


def test_files_that_go_together(single, tmp_path):
    parquet.write_table(pa.table({"text": ["film"], "n": pa.nulls(1)}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"text": ["bad"], "n": [3]}), tmp_path / "b.parquet")
    for out in (".parquet", ".arrow", ".csv", ".jsonl"):  # a column of nulls has no type of its own
        predict(single, [str(tmp_path / "?.parquet")], str(tmp_path / f"out{out}"))
        assert [record["n"] or None for record in read(tmp_path / f"out{out}")] in ([None, 3], [None, "3"])
    assert parquet.read_schema(tmp_path / "out.parquet").field("n").type == pa.int64()
    parquet.write_table(pa.table({"text": ["bad"], "other": [3]}), tmp_path / "b.parquet")
    predict(single, [str(tmp_path / "?.parquet")], str(tmp_path / "out.jsonl"))  # lines of JSON need not agree
    assert [list(record)[1] for record in read(tmp_path / "out.jsonl")] == ["n", "other"]


NARROW, WIDE = pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.string())
LARGE = pa.dictionary(pa.int16(), pa.large_string())
KINDS = {
    "string": (["x", None], [pa.string(), pa.large_string(), NARROW, WIDE, LARGE]),
    "binary": ([b"x", None], [pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.binary())]),
    "int": ([7, None], [pa.int8(), pa.int32(), pa.int64(), pa.dictionary(pa.int8(), pa.int64())]),
    "uint": ([7, None], [pa.uint8(), pa.uint64()]),
    "float": ([0.5, None], [pa.float32(), pa.float64()]),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("out", [".parquet", ".arrow"])
def test_shards_whose_types_differ_in_width(single, tmp_path, name, out):
    values, kinds = KINDS[name]
    for one, other in itertools.product(kinds, kinds):
        for file, kind in (("a", one), ("b", other)):
            table = pa.table({"text": ["film", "bad"], "k": pa.array(values, kind)})
            parquet.write_table(table, tmp_path / f"{file}.parquet")
        predict(single, [str(tmp_path / "?.parquet")], str(tmp_path / f"out{out}"))
        assert [record["k"] for record in read(tmp_path / f"out{out}")] == values * 2
        if out == ".parquet" and one == other:  # as it was
            before, after = (parquet.read_schema(tmp_path / f"{file}.parquet") for file in ("a", "out"))
            assert after.field("k").type == before.field("k").type
        (tmp_path / "out.parquet").unlink(missing_ok=True)


def test_damage_is_named(single, tmp_path):
    write(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("text,id\nfilm\n")
    with pytest.raises(DataError, match=r"b\.csv:2 has 1 field, but the header has 2"):
        predict(single, [str(tmp_path / "?.csv")], str(tmp_path / "out.jsonl"))
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"c\.parquet cannot be read as Parquet"):
        predict(single, [str(tmp_path / "c.parquet")], str(tmp_path / "out.jsonl"))
    parquet.write_table(
        pa.table({"text": ["film"], "n": pa.array([b"\xff" * 16], pa.binary(16))}), tmp_path / "d.parquet"
    )
    for out in (".csv", ".jsonl"):
        with pytest.raises(DataError, match=r"column 'n' (of|at) .*d\.parquet.*"):
            predict(single, [str(tmp_path / "d.parquet")], str(tmp_path / f"out{out}"))
    assert not list(tmp_path.glob("*out*"))


# -- processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["single", "multi", "regression"])
def test_stdin_to_lines(classifiers, task):
    classifier = Classifier.load(classifiers[task])
    texts = [text.replace("\n", " ").replace("\r", " ") for text in TEXTS]
    done = run(classifiers[task], stdin="".join(text + "\n" for text in texts))
    assert done.returncode == 0
    assert done.stderr.startswith(b"2 of 8 texts had no known n-gram (the first: stdin:2)")
    expected = classifier.predict(texts)
    if task == "single":
        expected = [f"{e}\t{p:.6g}" for e, p in zip(expected, classifier.predict_proba(texts).max(axis=1))]
    elif task == "multi":
        expected = [",".join(e) for e in expected]
    else:
        expected = [f"{e:.6g}" for e in expected]
    assert done.stdout.decode().split("\n") == [*expected, ""]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "arrow"])
def test_stdout_has_what_a_file_would_have(classifiers, single, tmp_path, kind):
    source = write(tmp_path / "in.parquet")
    done = run(
        classifiers["single"], "--format", kind, "--proba", source, "--keep", "id", "text", "--quoting", "double"
    )
    assert done.returncode == 0, done.stderr
    predict(single, [source], str(tmp_path / f"out.{kind}"), keep=["id", "text"], proba=True, quoting="double")
    if kind == "arrow":
        assert pa.ipc.open_stream(done.stdout).read_all().equals(pa.ipc.open_file(tmp_path / "out.arrow").read_all())
    else:
        assert done.stdout == (tmp_path / f"out.{kind}").read_bytes()


def test_stdin_of_json_into_tables(classifiers, tmp_path):
    lines = "".join(json.dumps(record) + "\n" for record in rows())
    for out in FILES:
        done = run(classifiers["single"], "-o", tmp_path / f"out{out}", "--quoting", "double", stdin=lines)
        assert done.returncode == 0, done.stderr
        assert [record["text"] for record in read(tmp_path / f"out{out}", quoted=True)] == TEXTS
    # What the first records have not cannot be known before.
    many = '{"text": "film"}\n' * 20_000 + '{"text": "film", "late": 1}\n'
    for out in (".csv", ".parquet"):
        done = run(classifiers["single"], "-o", tmp_path / f"new{out}", stdin=many)
        assert done.returncode == 2
        assert b"stdin:20001 has a column 'late', which the first records had not" in done.stderr
    assert not list(tmp_path.glob("*new*"))


def test_text_formats_need_numpy_alone(classifiers, tmp_path):
    code = (
        "import sys\n"
        "for name in ('pyarrow', 'pandas', 'torch', 'zstandard'): sys.modules[name] = None\n"
        "from sparsedistill.cli import main\n"
        "sys.exit(main(['predict', *sys.argv[1:]]))"
    )
    for suffix in (".csv", ".tsv", ".jsonl"):
        source = write(tmp_path / f"in{suffix}")
        for out in (".csv", ".tsv", ".jsonl"):
            path = tmp_path / f"out{out}"
            done = run(classifiers["single"], source, "-o", path, "--top-k", "2", "--quoting", "double", code=code)
            assert done.returncode == 0, done.stderr
            assert [record["text"] for record in read(path, quoted=True)] == TEXTS
    assert run(classifiers["single"], code=code, stdin="not bad\n").stdout.count(b"\n") == 1
    done = run(classifiers["single"], source, "-o", tmp_path / "out.parquet", code=code)
    assert done.returncode == 2 and b"pip install 'sparsedistill[arrow]'" in done.stderr
    assert MissingExtraError.__name__ not in done.stderr.decode()


def started(*arguments) -> subprocess.Popen:
    """A prediction half-way: its first records are written, and it waits for more."""
    child = subprocess.Popen(
        [sys.executable, "-m", "sparsedistill", "predict", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tempfile.gettempdir(),
        # A script's background job has this signal ignored, and so has what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stdin
    child.stdin.write(b"bad\n" * 300_000)
    child.stdin.flush()
    folder = Path(arguments[-1]).parent
    for _ in range(1000):
        if any(path.stat().st_size > 4 for path in folder.glob(".*.tmp")):
            return child
        time.sleep(0.02)
    child.kill()
    raise AssertionError("no temporary file has appeared")


@pytest.mark.parametrize("out", FILES)
def test_killed_half_way(classifiers, tmp_path, out):
    path = tmp_path / f"out{out}"
    path.write_bytes(b"what was there before")
    child = started(classifiers["single"], "-o", path)
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"what was there before"
    assert len(os.listdir(tmp_path)) == 2
    # The next run is not disturbed by what was left.
    assert run(classifiers["single"], "-o", path, stdin="film\n" * 3).returncode == 0
    assert len(read(path)) == 3


@pytest.mark.parametrize("out", [".jsonl", ".parquet"])
def test_interrupted_half_way(classifiers, tmp_path, out):
    child = started(classifiers["single"], "-o", tmp_path / f"out{out}")
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert child.returncode == 130
    assert said == b"\nsparsedistill: interrupted\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["lines", "jsonl", "arrow"])
def test_a_reader_that_has_seen_enough(classifiers, tmp_path, kind):
    source = str(tmp_path / "in.parquet")
    parquet.write_table(pa.table({"text": ["the film was not bad"] * 200_000}), source)
    child = subprocess.Popen(
        [sys.executable, "-m", "sparsedistill", "predict", classifiers["single"], source, "--format", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tempfile.gettempdir(),
    )
    assert child.stdout and child.stderr
    assert len(child.stdout.read(100)) == 100
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait() == 0
    child.stderr.close()


def test_a_reader_that_is_gone(classifiers, tmp_path):
    source = write(tmp_path / "in.csv")
    for kind in ("lines", "arrow"):
        end, start = os.pipe()
        os.close(end)
        done = subprocess.run(
            [sys.executable, "-m", "sparsedistill", "predict", classifiers["single"], source, "--format", kind],
            stdout=start, stderr=subprocess.PIPE, cwd=tempfile.gettempdir(), check=False,
        )  # fmt: skip
        os.close(start)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_gets_an_answer_to_each_line(classifiers, single):
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "sparsedistill", "predict", classifiers["single"]],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    os.close(theirs)
    assert child.stdout
    for text in ("not bad", "the film was good"):
        os.write(ours, text.encode() + b"\n")
        assert child.stdout.readline().decode().split("\t")[0] == single.predict(text)
    os.write(ours, b"\x04")
    rest, said = child.communicate(timeout=60)
    os.close(ours)
    assert (rest, child.returncode) == (b"", 0)
    assert said == b"reading lines of text from the terminal: end with Ctrl-D\n"


def test_a_full_disk_is_said(classifiers, tmp_path):
    source = write(tmp_path / "in.csv")
    for kind in ("lines", "arrow"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "sparsedistill", "predict", classifiers["single"], source, "--format", kind],
                stdout=full, stderr=subprocess.PIPE, cwd=tempfile.gettempdir(), check=False,
            )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.startswith(b"sparsedistill: ") and b"No space left on device" in done.stderr
        assert done.stderr.count(b"\n") == 1


def peak(*arguments) -> float:
    """Megabytes that a prediction held at most. VmHWM: ru_maxrss of a child begins with what its parent had."""
    code = (
        "import sys, re\n"
        "from sparsedistill.cli import main\n"
        "assert main(['predict', *sys.argv[1:]]) == 0\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
    )
    done = run(*arguments, code=code)
    assert done.returncode == 0, done.stderr
    return int(done.stderr) / 1e3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("suffix", "words", "out"),
    [(".parquet", 2000, ".jsonl"), (".jsonl", 2000, ".parquet"), (".csv", 2000, ".csv")],
)
def test_memory_is_flat(classifiers, tmp_path, suffix, words, out):
    text = "the film was not bad " * (words // 5)
    found = []
    for size in (40_000_000, 160_000_000):  # the first already fills what is held at once
        n, source = size // len(text), tmp_path / f"{size}{suffix}"
        if suffix == ".parquet":  # all in one row group
            table = pa.table({"text": pa.array([text]).take(pa.array(np.zeros(n, int)))})
            parquet.write_table(table, source, row_group_size=n, use_dictionary=False)
        else:
            line = f'{{"text": "{text}"}}\n' if suffix == ".jsonl" else f"{text}\n"
            with open(source, "w") as file:
                file.writelines(itertools.chain(["text\n"] * (suffix == ".csv"), itertools.repeat(line, n)))
        found.append(peak(classifiers["single"], source, "-o", tmp_path / f"out{out}", "--threads", "1"))
    assert found[1] - found[0] < 60, found


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_with_many_labels(tmp_path):
    Classifier(*make_parts(labels=4000)).save(tmp_path / "many")
    (tmp_path / "in.txt").write_text("not bad\n" * 16_384)  # 524 MB of probabilities
    assert peak(tmp_path / "many", tmp_path / "in.txt", "-o", tmp_path / "out.jsonl") < 400


def test_the_total_is_known_where_it_is_cheap(tmp_path):
    columnar = [write(tmp_path / f"in{suffix}") for suffix in (".parquet", ".arrow", ".feather")]
    assert data.count(columnar) == 3 * len(TEXTS)
    assert data.count([*columnar, write(tmp_path / "in.csv")]) is None
