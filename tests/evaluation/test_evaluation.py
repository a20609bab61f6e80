"""Protocols, and runs on disk."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from drople.errors import DataError
from drople.evaluation import runs
from drople.evaluation.protocols import PROTOCOLS, Setting, columns
from drople.evaluation.runs import evaluate, frozen_config, read_results
from drople.evaluation.tables import figure
from drople.models.prompts import PromptPlan
from drople.storage.prompts import load_prompts, save_prompts
from drople.tokens.dropout import DropoutSettings
from drople.training import run
from drople.training.config import METHODS, LossWeights, TrainConfig
from drople.training.data import Task
from drople.training.image_sets import ImageSet, images_of_files
from drople.training.overrides import named
from drople.training.run import digest, read_log, train_run, training_name

CONFIG = replace(METHODS["drople"], epochs=3, shots=2, batch=3, precision="fp32")


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Task:
    """Four classes of coloured noise with eight pictures each in every part."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)

    def images(part: str) -> ImageSet:
        files = []
        for label in range(4):
            for i in range(8):
                files.append((folder / f"{label}-{part}{i}.png", label))
                noise = rng.integers(0, 128, (32, 32, 3), dtype=np.uint8) + 30 * np.uint8(label)
                Image.fromarray(noise).save(files[-1][0])
        return images_of_files(files)

    names = ("cat", "dog", "house", "boat")
    return Task("noise", names, images("train"), images("val"), images("test"))


@pytest.fixture
def setting(backbone, task):
    """Where the protocols are carried out."""
    return Setting(backbone, task)


@pytest.fixture
def tested(setting, tmp_path):
    """Carries a protocol out under the test's own folder."""
    return lambda protocol, config: evaluate(
        protocol, setting, config, runs=tmp_path, data_option="DATA/noise"
    )


def cut_off(monkeypatch, after: int) -> None:
    """Lets training die after so many steps."""
    whole = run.fit

    def dying(*args, **options):
        for count, report in enumerate(whole(*args, **options), start=1):
            yield report
            if count == after:
                raise KeyboardInterrupt

    monkeypatch.setattr(run, "fit", dying)


# --- protocols ---


def test_base_to_novel_learns_on_the_first_half_and_tests_both(setting):
    (training,) = PROTOCOLS["base-to-novel"](setting, CONFIG)
    assert training.task.classes == ("cat", "dog")
    assert [test_set.classes for test_set in training.test_sets] == [
        ("cat", "dog"),
        ("house", "boat"),
    ]


def test_the_validation_split_shows_no_test_image(setting):
    (training,) = PROTOCOLS["base-to-novel"](replace(setting, split="val"), CONFIG)
    keys = {key for test_set in training.test_sets for key in test_set.images.keys}
    assert keys == set(setting.task.val.keys)


def test_few_shot_learns_with_one_to_sixteen_images_of_every_class(setting):
    trainings = PROTOCOLS["few-shot"](setting, CONFIG)
    assert [training.config.shots for training in trainings] == [1, 2, 4, 8, 16]
    assert [len(training.task.train) for training in trainings] == [4, 8, 16, 32, 32]


def test_long_tail_thins_out_the_last_class_tenfold(setting):
    (training,) = PROTOCOLS["long-tail"](setting, CONFIG)
    assert np.bincount(training.task.train.labels).tolist() == [8, 1]


def test_domain_shift_learns_on_photographs_and_tests_each_domain(setting, task):
    domains = np.arange(len(task.train)) % 2
    parts = {part: replace(getattr(task, part), domains=domains) for part in ("train", "test")}
    drawn = replace(task, domains=("photo", "sketch"), **parts)
    (training,) = PROTOCOLS["domain-shift"](replace(setting, task=drawn), CONFIG)
    assert set(training.task.train.domains) == {0}
    assert [(test_set.name, set(test_set.images.domains)) for test_set in training.test_sets] == [
        ("photo", {0}),
        ("sketch", {1}),
    ]


def test_cross_dataset_tests_all_classes_of_every_target(setting, task):
    other = replace(task.base(), name="other")
    (training,) = PROTOCOLS["cross-dataset"](replace(setting, targets=(other,)), CONFIG)
    assert [len(test_set.classes) for test_set in training.test_sets] == [4, 2]


def test_cross_dataset_asks_for_its_targets(setting):
    with pytest.raises(DataError, match="--targets"):
        PROTOCOLS["cross-dataset"](setting, CONFIG)


def test_corruptions_are_45_test_sets_beside_the_clean_one_on_the_same_pictures(setting):
    (training,) = PROTOCOLS["corruptions"](setting, CONFIG)
    assert len(training.test_sets) == 46
    assert {test_set.sample for test_set in training.test_sets} == {"base"}
    assert {len(test_set.images) for test_set in training.test_sets} == {16}


def test_every_corruption_is_in_one_family_column():
    test_sets = ["clean", "fog 1", "snow 2", "gaussian_noise 5", "pixelate 3", "zoom_blur 1"]
    families = columns("corruptions", test_sets)[1:-2]
    assert sorted(name for column in families for name in column.test_sets) == sorted(test_sets[1:])


# --- runs ---


def test_the_harmonic_mean_is_that_of_the_two_halves(tested):
    result = tested("base-to-novel", frozen_config(CONFIG))
    wanted = columns("base-to-novel", list(result.accuracy))
    found = {column.title: figure(result, column) for column in wanted}
    a, b = found["base"], found["novel"]
    assert found["harmonic mean"] == pytest.approx(2 * a * b / (a + b))


def test_accuracy_is_the_share_of_hits(tested):
    result = tested("pgd", CONFIG)
    for test_set, right in result.hits.items():
        assert result.accuracy[test_set] == pytest.approx(100 * right.mean())
        assert len(right) == result.images[test_set]


def test_a_finished_run_is_read_and_not_run_again(tested, monkeypatch):
    first = tested("base-to-novel", CONFIG)
    monkeypatch.setattr("drople.evaluation.runs.train_run", None)
    again = tested("base-to-novel", CONFIG)
    assert again.accuracy == first.accuracy
    assert all(
        np.array_equal(again.hits[test_set], first.hits[test_set]) for test_set in first.hits
    )


def test_a_damaged_result_is_set_aside_and_made_anew(tested, tmp_path, caplog):
    first = tested("base-to-novel", METHODS["zero-shot"])
    (file,) = tmp_path.rglob("results/**/*.json")
    file.write_text(file.read_text()[:-9])
    assert tested("base-to-novel", METHODS["zero-shot"]).accuracy == first.accuracy
    assert f"{file.name} is damaged" in caplog.text
    assert file.with_name(f"{file.name}.damaged").is_file()


def test_another_setting_is_another_run(tested, tmp_path):
    for config in (CONFIG, replace(CONFIG, lr=1e-3), replace(CONFIG, seed=2)):
        tested("base-to-novel", config)
    assert len(read_results(tmp_path)) == 3


def test_a_stored_result_that_contradicts_its_name_is_refused(tested, tmp_path):
    tested("base-to-novel", CONFIG)
    (file,) = (tmp_path / "results").glob("*/*/drople-*.json")
    stored = json.loads(file.read_text())
    stored["config"]["dropout.p_max"] = 0.9
    file.write_text(json.dumps(stored))
    expected = f"p_max 0.9 instead of {CONFIG.dropout.p_max}. Delete it"
    with pytest.raises(DataError, match=expected):
        tested("base-to-novel", CONFIG)


def test_stored_prompts_that_contradict_their_name_are_refused(backbone, task, tmp_path):
    few = task.few(2, 1)
    train_run(backbone, few, CONFIG, runs=tmp_path)
    (file,) = (tmp_path / "trained").glob("*.safetensors")
    model, card = load_prompts(file, backbone)
    save_prompts(file, model, replace(card, training={**card.training, "lr": 0.5}))
    with pytest.raises(DataError, match=f"lr 0.5 instead of {CONFIG.lr}"):
        train_run(backbone, few, CONFIG, runs=tmp_path)


def test_a_setting_added_after_a_result_was_stored_is_at_its_default(tested, tmp_path):
    first = tested("base-to-novel", CONFIG)
    (file,) = (tmp_path / "results").glob("*/*/drople-*.json")
    stored = json.loads(file.read_text())
    del stored["config"]["plan.n_add"]  # as if the result were older than the setting
    file.write_text(json.dumps(stored))
    assert tested("base-to-novel", CONFIG).accuracy == first.accuracy


RELEASED = TrainConfig(method="a")
CHANGED = replace(RELEASED, seed=2, lr=0.01, dropout=DropoutSettings(mode="hide", p_max=0.4))
MODULAR = replace(
    RELEASED, plan=PromptPlan("modular", text_count=1, image_count=1), gaussian_epochs=(0.75, 1.0)
)


@pytest.mark.parametrize(
    ("config", "pinned"),
    [(RELEASED, "17f8632189f6"), (CHANGED, "dcbf5f3f22ab"), (MODULAR, "b8454593a31c")],
)
def test_the_name_of_a_run_never_changes(config, pinned):
    """Where this fails, every finished run would be run again: put the default back."""
    assert digest(named(config)) == pinned


def test_a_name_leaves_out_what_is_at_its_default():
    assert named(TrainConfig()) == {}
    assert named(CHANGED) == {
        "method": "a", "seed": 2, "lr": 0.01, "dropout.mode": "hide", "dropout.p_max": 0.4,
    }  # fmt: skip


def test_the_defaults_are_those_of_the_parts():
    parts = {"plan": PromptPlan(), "losses": LossWeights(), "dropout": DropoutSettings()}
    assert TrainConfig() == TrainConfig(**parts)


def test_the_version_is_in_no_name(backbone, task, tested, tmp_path, monkeypatch):
    few = task.few(2, 1)
    before = training_name(backbone, few, CONFIG)
    tested("base-to-novel", frozen_config(CONFIG))
    for module in (run, runs):
        monkeypatch.setattr(module, "VERSION", "9.9.9", raising=False)
    tested("base-to-novel", frozen_config(CONFIG))
    assert training_name(backbone, few, CONFIG) == before
    assert len(read_results(tmp_path)) == 1


def test_another_dropout_of_ours_is_another_run(backbone, task):
    other = replace(CONFIG, dropout=replace(CONFIG.dropout, p_max=0.2))
    assert training_name(backbone, task, CONFIG) != training_name(backbone, task, other)


def test_protocols_that_learn_the_same_share_the_training(tested, tmp_path):
    for protocol in ("base-to-novel", "pgd"):
        tested(protocol, CONFIG)
    assert len(list((tmp_path / "trained").glob("*.safetensors"))) == 1


def test_the_frozen_branch_is_the_same_beside_every_method():
    beside = {frozen_config(replace(METHODS[name], seed=3)) for name in METHODS}
    assert len(beside) == 1


def test_a_run_that_was_cut_off_ends_like_one_that_was_not(backbone, task, tmp_path, monkeypatch):
    learnt = task.few(2, 1)
    whole = train_run(backbone, learnt, CONFIG, runs=tmp_path / "whole").model.state_dict()
    with monkeypatch.context() as patch:
        cut_off(patch, after=5)  # of 3 epochs of 3 steps: in the second
        with pytest.raises(KeyboardInterrupt):
            train_run(backbone, learnt, CONFIG, runs=tmp_path / "cut")
    resumed = train_run(backbone, learnt, CONFIG, runs=tmp_path / "cut").model.state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_the_log_of_a_resumed_run_holds_each_step_once(backbone, task, tmp_path, monkeypatch):
    learnt = task.few(2, 1)
    with monkeypatch.context() as patch:
        cut_off(patch, after=5)
        with pytest.raises(KeyboardInterrupt):
            train_run(backbone, learnt, CONFIG, runs=tmp_path)
    train_run(backbone, learnt, CONFIG, runs=tmp_path)
    (log,) = (tmp_path / "trained").glob("*.jsonl")
    steps = [(step["epoch"], step["step"]) for step in read_log(log)]
    assert steps == [(epoch, step) for epoch in range(3) for step in range(3)]


def test_a_damaged_line_of_a_log_is_left_out_and_said(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_bytes(b'{"epoch": 0}\n{"epo\xff\n[1]\n{"epoch": 1}\n')
    assert read_log(tmp_path / "a.jsonl") == [{"epoch": 0}, {"epoch": 1}]
    assert "line 2 is damaged" in caplog.text


def test_a_resumed_run_says_where_it_goes_on(backbone, task, tmp_path, monkeypatch, capsys):
    learnt = task.few(2, 1)
    with monkeypatch.context() as patch:
        cut_off(patch, after=5)
        with pytest.raises(KeyboardInterrupt):
            train_run(backbone, learnt, CONFIG, runs=tmp_path)
    capsys.readouterr()
    train_run(backbone, learnt, CONFIG, runs=tmp_path)
    captured = capsys.readouterr()
    assert "going on after epoch 1 of 3" in captured.out + captured.err


def test_a_finished_training_is_read_back_bit_for_bit(backbone, task, tmp_path):
    first, again = (train_run(backbone, task.few(2, 1), CONFIG, runs=tmp_path) for _ in range(2))
    for name, value in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)
    assert again.card.metrics == first.card.metrics


def test_the_log_holds_every_term_of_the_objective(backbone, task, tmp_path):
    train_run(backbone, task.few(2, 1), CONFIG, runs=tmp_path)
    (log,) = (tmp_path / "trained").glob("*.jsonl")
    assert set(read_log(log)[0]["terms"]) == {
        "cross_entropy",
        "text_l1",
        "image_l1",
        "distillation",
        "entropy_image",
        "entropy_text",
        "alignment",
        "total",
    }
