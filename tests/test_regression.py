"""Scores of any unit: learnt as those of unit size, chosen and reported by one measure, never worse than the mean."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st
from processes import Forked
from scipy.stats import spearmanr

from sparsedistill import Classifier, DataError, cli, evaluate
from sparsedistill.format import read_json
from sparsedistill.options import Label, Teach
from sparsedistill.run import Run
from sparsedistill.settings import build
from sparsedistill.standard import Standard
from sparsedistill.student.compress import compress
from sparsedistill.student.dataset import Batch, InMemory
from sparsedistill.student.model import Student
from sparsedistill.student.schedule import Schedule
from sparsedistill.student.train import train
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.tasks import TASKS
from sparsedistill.teacher import Job
from sparsedistill.teacher.finetune import finetune
from sparsedistill.teacher.kinds import kind_of

WORDS = [f"w{i}" for i in range(40)]
WORTH = dict(zip(WORDS, np.random.default_rng(0).normal(size=len(WORDS)), strict=True))
UNITS = {  # scale and offset of scores that vary by about 1
    "one": (1.0, 0.0),
    "year": (6.0, 2010.0),
    "large": (3e5, 1e6),
    "small": (1e-6, 2e-6),
    "negative": (40.0, -5000.0),
    "offset": (1e4, 1e9),
    "constant": (0.0, 7.25),
    "zero": (0.0, 0.0),
}


def texts_of(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 8)) for _ in range(n)]


def worth(text: str) -> float:
    return 2.8 * float(np.mean([WORTH[word] for word in text.split() if word in WORTH] or [0.0]))


def in_unit(texts: list[str], unit: str) -> list[float]:
    scale, offset = UNITS[unit]
    return [scale * worth(text) + offset for text in texts]


UNIT = ["one"]  # that the judge answers in


def judge(texts):
    return in_unit(texts, UNIT[0])


def noise(texts):
    """Scores that no text tells, of unit size."""
    return [float(np.random.default_rng(abs(hash(text)) % 2**32).normal()) for text in texts]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run_of(tmp_path: Path, unit: str, corpus: bool = True, **over) -> Run:
    """A run whose parts are scored in a unit; the column ``given`` has the scores too."""

    def part(name: str, n: int, seed: int) -> str:
        texts = texts_of(n, seed)
        scores = over.get("gold", {}).get(name) or in_unit(texts, unit)
        rows = [
            {"text": t, "label": s, "given": g} for t, s, g in zip(texts, scores, in_unit(texts, unit), strict=True)
        ]
        return write(tmp_path / f"{name}.jsonl", rows)

    values: dict = {
        "data": {"task": "regression", "train": part("train", 400, 1), "dev": part("dev", 150, 2)},
        "count": {"max_n": 1},
        "distill": {"hidden": [8], "epochs": 15, "threads": 1, "device": "cpu"},
        "finetune": {"epochs": 2},
        "evaluate": {"repeats": 1, "speed_texts": 10, "threads": 1},
    }
    values["data"]["test"] = part("test", 200, 3)
    if corpus:
        values["data"]["corpus"] = part("corpus", 800, 4)
    for section, fields in over.items():
        if section != "gold":
            values.setdefault(section, {}).update(fields)
    return Run(tmp_path / "run", build(values, "test"))


def figures(run: Run) -> dict[str, dict[str, float]]:
    return read_json(run.directory / "metrics.json")["systems"]


# -- figures ------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=9), max_size=6), st.floats(-1e6, 1e6))
def test_mean_and_deviation_are_those_of_all_scores_at_once(parts, offset):
    batches = [np.array(part) + offset for part in parts]
    found, every = Standard.of(batches), np.concatenate([np.zeros(0), *batches])
    if not len(every):
        assert (found.mean, found.deviation) == (0, 0)
        return
    assert found.mean == pytest.approx(every.mean(), abs=1e-9 * (1 + np.abs(every).max()))
    assert found.deviation == pytest.approx(every.std(), rel=1e-6, abs=1e-9 * (1 + np.abs(every).max()))


@given(st.floats(-1e30, 1e30), st.integers(1, 50), st.integers(1, 7))
def test_equal_scores_have_exactly_their_value_and_no_deviation(value, n, size):
    found = Standard.of(np.array_split(np.full(n, value), size))
    assert (found.mean, found.deviation, found.scale) == (value, 0.0, 1.0)
    assert np.array_equal(found.undo(found.apply(np.full(3, value))), np.full(3, value, np.float32))


def test_scores_that_float32_cannot_tell_apart_are_refused():
    numbers = np.random.default_rng(0).normal(size=1000)
    for scores in (1e9 + numbers * 2e3, numbers * 1e-20, numbers * 1e20, numbers):
        standard = Standard.of([scores])
        standard.check("train")
        kept = standard.undo(standard.apply(scores))
        assert np.sqrt(np.square(kept - scores).mean()) < 0.03 * scores.std()
    for scores, said in (
        (1e9 + numbers, "float32 cannot tell apart: subtract an offset"),
        (numbers * 1e-35, "scale them"),
        (numbers * 1e35, "scale them"),
    ):
        with pytest.raises(DataError, match="scores of train have mean .*" + said):
            Standard.of([scores]).check("train")


def test_comparable_units():
    one = Standard(3.0, 1.0)
    assert one.comparable(Standard(4.0, 0.5)) and one.comparable(one) and one.comparable(Standard(4.0, 0.0))
    assert not one.comparable(Standard(3.0, 30.0)) and not one.comparable(Standard(300.0, 1.0))
    assert not Standard(3.0, 0.0).comparable(Standard(4.0, 0.0))


@given(st.integers(0, 10_000), st.integers(2, 40))
def test_figures_are_those_of_the_references(seed, n):
    rng = np.random.default_rng(seed)
    gold, guess = rng.integers(-3, 4, n) * 1.5 + 1000, np.round(rng.normal(1000, 2, n))
    found = TASKS["regression"].metrics(guess[:, None], gold)
    if len(set(gold)) > 1 and len(set(guess)) > 1:
        assert found["r2"] == pytest.approx(reference.r2_score(gold, guess))
        assert found["spearman"] == pytest.approx(spearmanr(gold, guess).statistic)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(gold, guess))
    better = guess + 0.3 * (gold - guess)
    assert evaluate.r2(better, gold) >= evaluate.r2(guess, gold)


def test_r2_orders_guesses_also_where_all_targets_are_equal():
    gold = np.full(9, 7.25)
    found = [evaluate.r2(np.full(9, guess), gold) for guess in (7.25, 7.26, 8.0, -50.0)]
    assert found[0] == 1.0
    assert sorted(found, reverse=True) == found and len(set(found)) == 4


# -- from the student to the classifier ------------------------------------------------------------------------------

SHAPES = [
    ((), 0, "mean"), ((), 5, "mean"), ((6,), 0, "mean"), ((6, 4), 8, "mean"), ((6,), 3, "mean"), ((), 0, "sum"),
    ((), 0, "sqrtn"),
    ((), 0, "max"), ((6,), 0, "max"), ((), 5, "mean+max"), ((6,), 8, "mean+max"), ((), 0, "attentive"),
    ((), 5, "attentive"), ((6,), 8, "attentive"),
]  # fmt: skip
TEXTS = texts_of(60, 9)
VOCABULARY = Vocabulary.count([TEXTS], max_n=2)


def some_student(hidden, embedding, pooling, are_pairs=False, scores=(0,)) -> Student:
    """A student with numbers in all its layers."""
    student = Student(len(VOCABULARY), 1, hidden, embedding, 0.0, 1, "float32", pooling, pairs=are_pairs, scores=scores)
    rng = np.random.default_rng(2)
    student.table[:] = rng.normal(size=student.table.shape)
    for parameter in student.parameters():
        parameter.data[:] = parameter.data.new_tensor(rng.normal(size=tuple(parameter.shape)) * 0.5)
    return student


@pytest.mark.parametrize("unit", ["year", "small", "negative", "offset"])
@pytest.mark.parametrize(
    ("hidden", "embedding", "pooling", "are_pairs"), [*((*s, False) for s in SHAPES), ((6,), 7, "mean", True)]
)
def test_mean_and_scale_are_folded_into_the_classifier(tmp_path, hidden, embedding, pooling, are_pairs, unit):
    scale, offset = UNITS[unit]
    student = some_student(hidden, embedding, pooling, are_pairs)
    plain = some_student(hidden, embedding, pooling, are_pairs, False)
    student.standard[:] = offset, scale
    bags = VOCABULARY.bags(TEXTS)
    z = plain.logits(*bags, 1).astype(np.float64)
    want = z * scale + offset
    exact = student.logits(*bags, 1)
    tolerance = 2e-5 * scale + 2e-7 * abs(offset)
    np.testing.assert_allclose(exact, want, atol=tolerance, rtol=1e-5)
    student.save(tmp_path / "s.safetensors")
    again = Student(
        len(VOCABULARY), 1, hidden, embedding, 0.0, 5, "float32", pooling, pairs=are_pairs, scores=(0,)
    ).load(tmp_path / "s.safetensors")
    assert np.array_equal(again.logits(*bags, 1), exact)
    asked = list(zip(TEXTS[::2], TEXTS[1::2], strict=True)) if are_pairs else TEXTS
    for rows in ("float32", "auto"):
        compress(again, VOCABULARY, ("score",), "regression", rows).save(tmp_path / rows)
        found = Classifier.load(tmp_path / rows).decision_function(asked)
        coarse = 0 if rows == "float32" else 0.06 * max(1.0, float(np.abs(z).max())) * scale
        np.testing.assert_allclose(found, want, atol=10 * tolerance + coarse, rtol=1e-5)
        assert evaluate.pearson(found[:, 0], want[:, 0]) > 0.995


@pytest.mark.parametrize(("hidden", "embedding", "pooling"), SHAPES)
def test_a_new_student_gives_the_mean(hidden, embedding, pooling):
    student = Student(len(VOCABULARY), 1, hidden, embedding, 0.1, 1, "float32", pooling, scores=(0,))
    student.standard[:] = 2010.5, 6.0
    assert (student.logits(*VOCABULARY.bags(TEXTS), 1) == 2010.5).all()


# -- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("hidden", [[8], []])
def test_students_learn_any_unit(tmp_path, monkeypatch, unit, hidden):
    monkeypatch.setattr("test_regression.UNIT", [unit])
    run = run_of(
        tmp_path, unit, teach={"teacher": "test_regression:judge"},
        distill={"hidden": hidden, "modes": ["scratch", "kd_private", "kd"], "epochs": 8},
    )  # fmt: skip
    run.execute()
    gold = np.array(in_unit(texts_of(200, 3), unit))
    for name, found in figures(run).items():
        if unit in ("constant", "zero"):
            assert (found["rmse"], found["r2"]) == (0, 1), name
            continue
        assert found["r2"] > 0.85, (name, found)
        assert found["rmse"] == pytest.approx(gold.std() * math.sqrt(1 - found["r2"]), rel=1e-3)
    classifier = Classifier.load(run.directory / "classifier")
    predicted = classifier.predict(texts_of(200, 3))
    if unit in ("constant", "zero"):
        assert set(predicted) == {UNITS[unit][1]}
    else:
        assert np.sqrt(np.square(predicted - gold).mean()) < 0.4 * gold.std()


@pytest.mark.parametrize("unit", ["year", "small", "constant"])
def test_students_learn_a_column_of_any_unit(tmp_path, unit):
    run = run_of(tmp_path, unit, teach={"teacher": "column:given"})
    run.execute()
    assert all(found["r2"] > 0.85 for found in figures(run).values()), figures(run)


def test_the_learning_rate_means_the_same_in_any_unit(tmp_path):
    """The figures are the same, for what is trained is."""
    found = {}
    for unit in ("one", "negative", "small"):
        (tmp_path / unit).mkdir()
        run = run_of(tmp_path / unit, unit, corpus=False, distill={"modes": ["scratch"], "epochs": 3})
        run.execute()
        found[unit] = figures(run)["scratch"]["r2"]
    assert found["negative"] == pytest.approx(found["one"], abs=2e-3)
    assert found["small"] == pytest.approx(found["one"], abs=2e-3)


@pytest.mark.parametrize(("scale", "offset"), [(10.0, 100.0), (-3.0, 50.0), (1e-3, 0.0)])
def test_a_teacher_of_another_unit_than_gold_is_learnt_and_fine_tuned_to_it(
    tmp_path, monkeypatch, capsys, scale, offset
):
    monkeypatch.setitem(UNITS, "other", (scale, offset))
    monkeypatch.setattr("test_regression.UNIT", ["other"])
    run = run_of(tmp_path, "one", teach={"teacher": "test_regression:judge"})
    run.execute()
    assert "their units differ, so dev's figure is the correlation here" in capsys.readouterr().err
    found, test = figures(run), texts_of(200, 3)
    assert found["kd_ft"]["r2"] > 0.8
    begin = (run.directory / "students" / "kd_ft" / "curve.csv").read_text(encoding="utf-8").splitlines()[1]
    assert float(begin.split(",")[-1]) > 0.8  # before the first step: the unit is fitted, not learnt
    assert found["kd_ft"]["dev"] > found["kd"]["dev"]
    given = np.array(in_unit(test, "other"))
    learnt = run.classifier("kd").predict(test)  # the teacher's scores, in their unit
    assert np.sqrt(np.square(learnt - given).mean()) < 0.4 * given.std()


def test_noise_is_not_learnt_to_be_worse_than_the_mean(tmp_path):
    gold = {part: noise(texts_of(n, seed)) for part, n, seed in (("train", 400, 1), ("dev", 150, 2), ("test", 200, 3))}
    run = run_of(
        tmp_path, "one", teach={"teacher": "test_regression:noise"}, gold=gold,
        distill={"modes": ["scratch", "kd"], "epochs": 30}, count={"max_n": 4},
    )  # fmt: skip
    run.execute()
    dev = np.array(gold["dev"])
    for name in ("scratch", "kd", "kd_ft"):
        vocabulary, student = run.trained(name)
        exact = student.logits(*run.bags(vocabulary, texts_of(150, 2), 1), 1)[:, 0]
        learnt = np.mean(gold["train"])
        if name == "kd":
            learnt = np.mean(noise([t for part in ("corpus", "train") for b in run.inputs.texts(part) for t in b]))
        assert evaluate.r2(exact, dev) >= evaluate.r2(np.full(150, learnt), dev) - 1e-9, name


def test_weights_worse_than_a_number_are_replaced_by_it(tmp_path, capsys):
    """Where the start is no better either, as when a student is fine-tuned."""
    student = some_student((6,), 0, "mean")
    student.standard[:] = 50.0, 1.0
    bags = VOCABULARY.bags(TEXTS)
    gold = np.array(in_unit(TEXTS, "one"))
    blocks = InMemory(Batch(*bags, gold[:, None]))
    plan = Schedule(
        steps=2, batch_size=8, learning_rate=1e-6, warmup=0.0, ngram_dropout=0.0, evaluate_every=1,
        checkpoint_seconds=1e9, threads=1, seed=0, keep_best=True,
    )  # fmt: skip

    def score(some: Student) -> float:
        return evaluate.r2(some.logits(*bags, 1)[:, 0], gold)

    least = evaluate.r2(np.full(len(gold), 0.125), gold)
    found = train(student, blocks, plan, TASKS["regression"], tmp_path, score, "finetune", "k", fallback=(0.125, least))
    assert "finetune: dev -" in capsys.readouterr().err
    assert found["dev"] == least
    assert (student.logits(*bags, 1) == 0.125).all()
    assert not list(tmp_path.glob("best*"))


def test_scores_too_close_for_float32_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(UNITS, "close", (3.0, 1e9))
    with pytest.raises(DataError, match=r"the scores of train have mean \d+[.\d]* .*subtract an offset"):
        run_of(tmp_path, "close", corpus=False, distill={"modes": ["scratch"]}).execute()
    monkeypatch.setattr("test_regression.UNIT", ["close"])
    run = run_of(tmp_path, "one", teach={"teacher": "test_regression:judge"})
    with pytest.raises(DataError, match=r"the scores of the teacher have mean .*subtract an offset"):
        run.execute()


def test_rows_too_coarse_for_scores_become_finer(tmp_path, monkeypatch):
    tried = []

    def spoiling(student, vocabulary, labels, task, rows, *rest):
        tried.append(rows)
        found = compress(student, vocabulary, labels, task, rows, *rest)
        if rows == "auto":  # as if int8 were too coarse
            tensors = {name: np.array(array) for name, array in found._tensors.items()}
            tensors["scale"] *= np.random.default_rng(0).normal(1, 2, tensors["scale"].shape).astype(np.float32)
            found = Classifier(found.config, tensors)
        return found

    monkeypatch.setattr("sparsedistill.student.compress.compress", spoiling)
    run = run_of(tmp_path, "year", corpus=False, distill={"modes": ["scratch"]})
    run.execute()
    assert tried == ["auto", "int16"]
    assert Classifier.load(run.directory / "classifier").config["rows"]["type"] == "int16"
    assert figures(run)["scratch"]["r2"] > 0.85


# -- a teacher that is fine-tuned ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> dict[str, Path]:
    """Small models that know the words: BERT, and GPT-2, whose head has no bias."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    home = tmp_path_factory.mktemp("tiny")
    tokenizers = pytest.importorskip("tokenizers")
    names = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(names, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")
    torch.manual_seed(0)
    size = len(tokenizer)
    bert = transformers.BertConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, num_labels=1,
    )  # fmt: skip
    gpt = transformers.GPT2Config(
        vocab_size=size, n_embd=32, n_layer=1, n_head=2, n_positions=32, num_labels=1, pad_token_id=0
    )
    for name, model in (
        ("bert", transformers.BertForSequenceClassification(bert)),
        ("gpt", transformers.GPT2ForSequenceClassification(gpt)),
    ):
        model.save_pretrained(home / name)
        tokenizer.save_pretrained(home / name)
    return {"bert": home / "bert", "gpt": home / "gpt"}


TRAIN, DEV = texts_of(400, 1), texts_of(150, 2)


def tuned(model: Path, directory: Path, unit: str, **over):
    asked = {"epochs": 12, "learning_rate": 3e-3, "batch_size": 16, "precision": "fp32", "device": "cpu", "threads": 1}
    settings = Teach(teacher=str(model), max_length=16, dropout=0.0, **{**asked, **over})
    result = finetune(
        settings, directory, TRAIN, in_unit(TRAIN, unit), DEV, in_unit(DEV, unit), labels=("score",), task="regression",
        seed=0,
    )  # fmt: skip
    return settings, result


def opened(settings: Teach, directory: Path):
    return kind_of(str(directory)).open(Job(settings, Label(), ("score",), "regression", directory=directory))


@pytest.mark.parametrize("unit", ["year", "small", "negative", "offset", "constant"])
def test_a_fine_tuned_model_gives_scores_in_their_unit(tmp_path, tiny, unit):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    settings, result = tuned(tiny["bert"], tmp_path / "t", unit)
    gold = np.array(in_unit(DEV, unit))
    scores = opened(settings, tmp_path / "t").logits(DEV)
    assert scores.dtype == np.float64
    assert result["metric"] == "r2"
    if unit == "constant":
        assert (scores == 7.25).all()
    else:
        assert evaluate.r2(scores[:, 0], gold) == pytest.approx(max(result["dev"]), abs=1e-3)
        assert max(result["dev"]) > 0.7
    assert result["best_epoch"] == 1 + int(np.argmax(result["dev"]))
    # Not through this package: a plain model of the library gives the same.
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "t")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "t").eval()
    with torch.no_grad():
        plain = model(**tokenizer(DEV, padding=True, return_tensors="pt")).logits.double().numpy()
    np.testing.assert_allclose(plain, scores, atol=1e-4 * UNITS[unit][0] + 2e-7 * abs(UNITS[unit][1]), rtol=1e-4)
    if unit == "year":  # whose offset would take all digits that bf16 has
        coarse = opened(dataclasses.replace(settings, precision="bf16"), tmp_path / "t").logits(DEV)
        assert np.sqrt(np.square(coarse - scores).mean()) < 0.1 * gold.std()


def test_fine_tuning_goes_on_from_a_models_own_scores(tmp_path, tiny):
    settings, result = tuned(tiny["bert"], tmp_path / "t", "year")
    before = opened(settings, tmp_path / "t").logits(DEV)
    _, again = tuned(tmp_path / "t", tmp_path / "u", "year", learning_rate=1e-9, epochs=1)
    np.testing.assert_allclose(opened(settings, tmp_path / "u").logits(DEV), before, atol=1e-2)
    assert again["dev"][0] == pytest.approx(max(result["dev"]), abs=1e-3)


def test_a_head_without_a_bias_leaves_its_mean_in_the_config(tmp_path, tiny, capsys):
    settings, result = tuned(tiny["gpt"], tmp_path / "t", "year")
    assert "sparsedistill_standard" in capsys.readouterr().err
    assert "sparsedistill_standard" in json.loads((tmp_path / "t" / "config.json").read_text())
    scores = opened(settings, tmp_path / "t").logits(DEV)[:, 0]
    assert evaluate.r2(scores, np.array(in_unit(DEV, "year"))) == pytest.approx(max(result["dev"]), abs=1e-3)
    assert max(result["dev"]) > 0.5


def test_a_teacher_worse_than_the_mean_gives_the_mean(tmp_path, tiny, capsys):
    targets = np.array(noise(TRAIN)) + 100
    settings = Teach(teacher=str(tiny["bert"]), epochs=6, learning_rate=1e-2, precision="fp32", device="cpu", threads=1)
    dev = np.array(noise(DEV)) + 100
    result = finetune(settings, tmp_path / "t", TRAIN, targets, DEV, dev, labels=("score",), task="regression", seed=0)
    scores = opened(settings, tmp_path / "t").logits(DEV)[:, 0]
    least = evaluate.r2(np.full(len(DEV), targets.mean()), dev)
    assert evaluate.r2(scores, dev) >= least - 1e-6
    if max(result["dev"]) < least:
        assert "the mean is kept" in capsys.readouterr().err
        assert np.ptp(scores) == 0


def test_a_whole_run_with_a_fine_tuned_teacher(tmp_path, tiny):
    teach = {
        "teacher": str(tiny["bert"]),
        "epochs": 8,
        "learning_rate": 3e-3,
        "device": "cpu",
        "threads": 1,
        "dropout": 0.0,
    }
    run = run_of(tmp_path, "year", teach={**teach, "precision": "fp32"})
    run.execute()
    found = figures(run)
    assert all(found[name]["r2"] > 0.6 for name in ("teacher", "kd", "kd_ft")), found
    assert list(found["kd"])[:5] == ["r2", "rmse", "mae", "pearson", "spearman"]
    card = (run.directory / "classifier" / "README.md").read_text(encoding="utf-8")
    assert "| RMSE |" in " ".join(card.split()).replace("RMSE |", "| RMSE |")


@pytest.mark.parametrize("hidden", [[8], []])
def test_processes_that_share_the_columns_agree(tmp_path, hidden):
    """Mean, scale and what is fallen back on are the same in each."""
    found = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run = run_of(
            tmp_path / name, "year", teach={"teacher": "column:given"}, distill={"hidden": hidden, "epochs": 3}
        )
        run.execute(["label", "count", *(["distill", "finetune"] if name == "one" else [])])
        if name == "two":
            for stage in ("distill", "finetune"):
                child = Forked(tmp_path, cli.main, [stage, "--run", str(run.directory)], processes=2)
                assert child.wait() == 0, child.said
        for student in ("kd", "kd_ft"):
            vocabulary, trained = run.trained(student)
            found[name, student] = trained.logits(*run.bags(vocabulary, texts_of(50, 3), 1), 1)
    for student in ("kd", "kd_ft"):
        np.testing.assert_allclose(found["one", student], found["two", student], atol=0.05)
