"""The studio: which device, which models stay, what is refused, what is remembered."""

from __future__ import annotations

import gc
import pickle
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from furnished import save_fresh_prompts, save_model, save_tiny_clip
from safetensors.torch import save_file
from tiny import NAMES, noise_picture

from app.studio import NO_PROMPTS, Studio
from drople.analysis import AnalysisSettings, analyse
from drople.devices import pick_device
from drople.errors import BackboneError, CheckpointError, DropleError, SettingsError
from drople.models.backbone import load_backbone
from drople.models.prompts import PromptPlan
from drople.storage.prompts import read_card, shipped_prompts
from drople.training.config import TrainConfig
from drople.training.loop import build_model

HAS_CUDA = torch.cuda.is_available()
DEFAULTS = AnalysisSettings()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Names of three backbones: the same tiny CLIP in three folders."""
    folder = tmp_path_factory.mktemp("clips")
    return [save_tiny_clip(folder / name) for name in ("one", "two", "three")]


@pytest.fixture(scope="module")
def tiny_name(folders):
    """The name of a tiny backbone."""
    return folders[0]


@pytest.fixture(scope="module")
def prompts(tiny_name, tmp_path_factory):
    """Files of freshly initialised prompts for the tiny backbone, of ten seeds."""
    folder, backbone = tmp_path_factory.mktemp("prompts"), load_backbone(tiny_name)
    return [save_fresh_prompts(folder / f"{i}.safetensors", backbone, seed=i) for i in range(10)]


@pytest.fixture
def studio():
    return Studio("cpu")


# --- the device ---


def test_the_cpu_can_be_asked_for():
    assert pick_device("cpu") == "cpu"


def test_by_itself_the_studio_takes_cuda_where_there_is_one():
    assert pick_device("auto") == ("cuda" if HAS_CUDA else "cpu")


@pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device here")
def test_asking_for_cuda_where_there_is_none_says_what_to_do():
    with pytest.raises(SettingsError, match="no CUDA device here"):
        Studio("cuda")


def test_an_unknown_device_is_refused_with_the_choices():
    with pytest.raises(SettingsError, match="'tpu'; choose one of auto, cpu, cuda"):
        pick_device("tpu")


@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_cuda_and_the_cpu_answer_alike(tiny_name, prompts):
    found = []
    for device in ("cpu", "cuda"):
        studio = Studio(device)
        loaded = studio.load(tiny_name, str(prompts[0]))
        found.append(studio.analyse(loaded, noise_picture(), NAMES, DEFAULTS))
    for condition, said in found[0].predictions.items():
        other = found[1].predictions[condition]
        np.testing.assert_allclose(said.cosines, other.cosines, atol=1e-4)


# --- models ---


def test_mini_loads_without_prompts(studio):
    loaded = studio.load("mini")
    assert (loaded.card, loaded.name) == (None, NO_PROMPTS)
    assert loaded.model.name == "mini"


def test_prompts_load_by_the_path_of_a_file(studio, tiny_name, prompts):
    loaded = studio.load(tiny_name, str(prompts[3]))
    assert loaded.name == "3"
    assert loaded.card.classes == ("cheetah", "lion")
    assert loaded.model.backbone.name == tiny_name


def test_a_model_is_loaded_once(studio, tiny_name, prompts):
    first, again = (studio.load(tiny_name, str(prompts[0])) for _ in range(2))
    assert first.model is again.model
    assert first.model.backbone is studio.load(tiny_name).model


def test_a_file_that_changed_is_loaded_again(studio, tiny_name, prompts, tmp_path):
    path = shutil.copy2(prompts[0], tmp_path / "mine.safetensors")
    before = studio.load(tiny_name, str(path)).model
    shutil.copy2(prompts[1], path)
    after = studio.load(tiny_name, str(path)).model
    assert not torch.equal(before.prompts.image, after.prompts.image)


def test_at_most_two_backbones_stay(studio, folders):
    models = [weakref.ref(studio.load(name).model) for name in folders]
    gc.collect()
    assert [model() is None for model in models] == [True, False, False]


def test_the_backbone_used_last_stays(studio, folders):
    first = weakref.ref(studio.load(folders[0]).model)
    second = weakref.ref(studio.load(folders[1]).model)
    studio.load(folders[0])
    studio.load(folders[2])
    gc.collect()
    assert first() is not None
    assert second() is None


def test_prompts_do_not_keep_a_backbone_that_left(studio, folders, tmp_path):
    refs = []
    for name in folders:
        path = save_fresh_prompts(tmp_path / "fresh.safetensors", load_backbone(name))
        refs.append(weakref.ref(studio.load(name, str(path)).model.backbone))
    gc.collect()
    assert sum(model() is not None for model in refs) <= 2


def test_shipped_prompts_are_offered_for_their_own_backbone_only(studio, tiny_name):
    assert studio.prompts_for(tiny_name) == {}
    assert {*studio.prompts_for("mini")} <= {*shipped_prompts()}


def test_the_page_starts_with_the_hosts_prompts_where_strangers_may_name_no_file(
    tiny_name, prompts
):
    name = prompts[0].stem
    studio = Studio("cpu", own_files=False, prompts=str(prompts[0]))
    assert studio.start == (tiny_name, name)
    assert [*studio.prompts_for(tiny_name)] == [name]
    assert studio.card(tiny_name, name).classes == read_card(prompts[0]).classes
    with pytest.raises(CheckpointError, match="only the prompts in the list"):
        studio.load("mini", str(prompts[1]))


def test_host_prompts_are_refused_before_the_launch(prompts, tmp_path):
    taken = shutil.copy2(prompts[0], tmp_path / f"{next(iter(shipped_prompts()))}.safetensors")
    with pytest.raises(CheckpointError, match="another name"):
        Studio("cpu", prompts=str(taken))
    with pytest.raises(CheckpointError, match="There are no prompts"):
        Studio("cpu", prompts=str(tmp_path / "nowhere.safetensors"))


# --- what is refused ---


def damaged(path):
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(path):
    path.write_bytes(pickle.dumps({"prompts": [1, 2, 3]}))


def emptied(path):
    path.write_bytes(b"")


def of_something_else(path):
    save_file({"x": torch.zeros(2)}, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (damaged, "may be truncated"),
        (pickled, r"is not a safetensors file. Pickled checkpoints .* are refused"),
        (emptied, "is not a safetensors file"),
        (of_something_else, "holds no DroPLe prompts"),
    ],
)
def test_a_file_that_holds_no_prompts_is_refused(
    studio, tiny_name, prompts, tmp_path, change, words
):
    path = shutil.copy2(prompts[0], tmp_path / "mine.safetensors")
    change(path)
    with pytest.raises(CheckpointError, match=words) as caught:
        studio.load(tiny_name, str(path))
    assert "mine.safetensors" in str(caught.value)


def test_prompts_for_another_backbone_are_refused_by_both_names(studio, tiny_name, prompts):
    with pytest.raises(CheckpointError, match="Choose the one it was made with") as caught:
        studio.load("mini", str(prompts[0]))
    assert tiny_name in str(caught.value)
    assert "mini" in str(caught.value)


@pytest.mark.parametrize(
    "path", ["nowhere.safetensors", ".", "x" * 5000, "~nobody-by-this-name/x", "a\0b"]
)
def test_a_path_without_a_file_is_refused(studio, tiny_name, path):
    with pytest.raises(CheckpointError, match="There are no prompts"):
        studio.load(tiny_name, path)


def test_a_public_page_reads_no_prompts_of_its_machine(prompts):
    studio = Studio("cpu", own_files=False)
    with pytest.raises(CheckpointError, match="only the prompts in the list can be used"):
        studio.load("mini", str(prompts[0]))


@pytest.mark.parametrize("kind", ["local-dir:", "hf-hub:"])
def test_a_public_page_loads_no_backbone_that_a_visitor_names(folders, kind):
    studio = Studio("cpu", own_files=False)
    with pytest.raises(DropleError, match="On this page only"):
        studio.load(folders[0].replace("local-dir:", kind))


def test_an_unknown_backbone_is_refused_with_what_to_use(studio):
    with pytest.raises(BackboneError, match="No backbone is called 'nothing'"):
        studio.load("nothing")


# --- analyses ---


def test_the_same_question_gives_the_same_analysis(studio, tiny_name, prompts):
    loaded = studio.load(tiny_name, str(prompts[0]))
    first = studio.analyse(loaded, noise_picture(), NAMES, DEFAULTS)
    again = studio.analyse(loaded, noise_picture(), NAMES, AnalysisSettings())
    assert again is first


@pytest.mark.parametrize(
    "change", [{"names": NAMES[:2]}, {"seed": 1}, {"picture": 5}, {"prompts": 1}]
)
def test_another_question_gives_another_analysis(studio, tiny_name, prompts, change):
    answers = []
    for given in ({}, change):
        loaded = studio.load(tiny_name, str(prompts[given.get("prompts", 0)]))
        picture = noise_picture(seed=given.get("picture", 2))
        settings = AnalysisSettings(seed=given.get("seed", 0))
        answers.append(studio.analyse(loaded, picture, given.get("names", NAMES), settings))
    first, second = (tuple(said.cosines) for said in (a.predictions["iwtd"] for a in answers))
    assert first != second


def test_it_is_known_whether_this_backbone_and_these_prompts_made_an_analysis(
    studio, tiny_name, prompts, folders
):
    one, other = (studio.load(tiny_name, str(path)) for path in prompts[:2])
    bare = studio.load(tiny_name)
    analyses = [studio.analyse(loaded, noise_picture(), NAMES, DEFAULTS)
                for loaded in (one, other, bare)]  # fmt: skip
    for i, loaded in enumerate((one, other, bare)):
        assert [loaded.made(analysis) for analysis in analyses] == [i == k for k in range(3)]
    assert studio.load(folders[1]).made(analyses[2])  # the same weights, elsewhere


def test_the_studio_answers_as_the_library_does(studio, tiny_name, prompts):
    loaded = studio.load(tiny_name, str(prompts[0]))
    found = studio.analyse(loaded, noise_picture(), NAMES, DEFAULTS)
    expected = analyse(loaded.model, noise_picture(), NAMES, DEFAULTS)
    for condition, said in expected.predictions.items():
        np.testing.assert_array_equal(found.predictions[condition].cosines, said.cosines)


def test_no_answer_of_prompts_that_left_is_given_for_others(studio, tiny_name, prompts):
    quick = AnalysisSettings(strategies=(), matched=False)
    for path in (*prompts, *prompts[:3]):
        loaded = studio.load(tiny_name, str(path))
        found = studio.analyse(loaded, noise_picture(), NAMES[:1], quick)
        assert found.provenance["prompts"] == path.stem
        del loaded
        gc.collect()


def test_prompts_without_a_bridge_are_analysed(studio, tiny_name, tmp_path):
    config = TrainConfig(plan=PromptPlan(kind="coupled"), bridge_tokens=0)
    model = build_model(load_backbone(tiny_name), config)
    path = save_model(tmp_path / "maple.safetensors", model, config)
    loaded = studio.load(tiny_name, str(path))
    found = studio.analyse(loaded, noise_picture(), NAMES, DEFAULTS)
    assert {*found.images["adapted"].layers[0].shares} == {"s_self", "s_cls"}


def test_two_visitors_at_once_get_one_answer_each(studio, tiny_name, prompts):
    def visit(seed):
        loaded = studio.load(tiny_name, str(prompts[0]))
        return studio.analyse(loaded, noise_picture(seed=seed), NAMES, DEFAULTS)

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(visit, [5, 6, 5, 6])]
    assert found[0] is found[2]
    assert found[1] is found[3]
    assert found[0] is not found[1]
