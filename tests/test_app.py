"""The page's callbacks called directly, and the running app as a program meets it."""

from __future__ import annotations

import base64
from collections import Counter

import httpx
import numpy as np
import pytest
import torch
from analysed import ODD_NAMES
from furnished import FORM, FurnishedStudio, save_fresh_prompts, save_tiny_clip
from gradio import Error, Progress
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from tiny import noise_picture

from app.demo import build_demo, launch, main
from app.page import Page
from app.studio import BACKBONES, NO_PROMPTS, Studio
from drople.analysis import AnalysisSettings
from drople.evidence import load_analysis
from drople.models.backbone import load_backbone

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


def in_order(form):
    """The form's values as a callback takes them: Gradio's progress after the first four."""
    values = [*form.values()]
    return *values[:4], Progress(), *values[4:]


def last(steps):
    """What a callback shows in the end."""
    *_, shown = steps
    return shown


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """A studio with one file of prompts for a tiny backbone; the names of both."""
    folder = tmp_path_factory.mktemp("furnished")
    backbone = save_tiny_clip(folder / "tiny")
    path = save_fresh_prompts(folder / "fresh.safetensors", load_backbone(backbone))
    return FurnishedStudio(path), backbone, str(path)


@pytest.fixture
def visit(furnished):
    """Presses Analyse with a picture of noise, two classes and the form as it stands."""
    studio, backbone, prompts = furnished

    def press(*, picture=noise_picture(), classes="cat, dog", cam=(), **changes):  # noqa: B008
        form = {"backbone": backbone, "prompts": prompts, **FORM} | changes
        return last(Page(studio).analyse(picture, classes, *in_order(form), *cam))

    return press


# --- pressing Analyse ---


def test_an_analysis_comes_with_the_answer_in_words(visit):
    analysis, answer, target, foot = visit()
    assert analysis.classes == ("cat", "dog")
    for name in ("Frozen", "Adapted", "Vanilla dropout", "IWTD"):
        assert f"{name}: " in answer
    assert target.value in analysis.classes
    assert analysis.provenance["prompts_hash"][:6] in foot


def test_without_prompts_the_frozen_branch_alone_answers(visit):
    analysis, answer, *_ = visit(prompts=NO_PROMPTS)
    assert analysis.conditions == ("frozen",)
    assert "only the frozen branch is shown" in answer


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("cat, Cat , dog\nCAT", ("cat", "dog")),
        ("cat", ("cat",)),
        ("cat;dog\r\n\r\n  sea   lion ", ("cat", "dog", "sea lion")),
        ("c\x00at, \u202edog\u200b", ("c at", "dog")),
        ("cat\ud800, dog", ("cat?", "dog")),
    ],
)
def test_a_class_list_is_read_as_a_person_meant_it(visit, classes, expected):
    analysis, answer, target, _ = visit(classes=classes)
    assert analysis.classes == expected
    assert answer.encode()
    assert target.choices == [(name, name) for name in expected]


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if ";" not in name])
def test_a_name_that_looks_like_markup_is_shown_as_text(visit, name):
    analysis, answer, target, _ = visit(classes=name)
    assert analysis.classes == (name,)
    assert target.value == name
    assert "<img" not in answer


def test_one_class_is_certain(visit):
    analysis, answer, *_ = visit(classes="cat")
    assert "Frozen: cat 1.00" in answer
    assert analysis.predictions["iwtd"].probabilities.tolist() == [1.0]


@pytest.mark.slow
def test_two_thousand_classes_are_analysed(visit):
    analysis, _, target, _ = visit(classes=", ".join(f"thing {i}" for i in range(2000)))
    assert len(analysis.classes) == 2000
    assert len(analysis.maps.classes) == len(target.choices) == 10


def test_the_class_looked_at_stays_and_has_a_map(visit):
    names = [f"thing {i}" for i in range(30)]
    for name in names[::10]:
        analysis, _, target, _ = visit(classes=", ".join(names), target=name)
        assert target.value == name
        assert analysis.classes.index(name) in analysis.maps.classes


def test_maps_of_another_method_and_layer_can_be_computed(visit):
    maps = visit(cam=("layercam", 2))[0].maps
    assert (maps.method, maps.layer) == ("layercam", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"picture": None}, "There is no picture yet."),
        ({"classes": ""}, "The class list is empty."),
        ({"classes": " ,;\n\u200b"}, "The class list is empty."),
        ({"classes": ",".join(map(str, range(2001)))}, "2,001 names; at most 2,000"),
        ({"classes": "a " * 100}, "tokens long"),
        ({"template": "a photo"}, "must hold {} once"),
        ({"template": "{} and {}"}, "must hold {} once"),
        ({"p_min": 0.6}, "p_min (0.6) is above p_max (0.5); swap them."),
        ({"mode": "burn"}, "mode is 'burn'; choose one of zero"),
        ({"prompts": "nothing"}, "There is no file 'nothing'."),
        ({"backbone": "nothing"}, "No CLIP is called 'nothing'."),
        ({"cam": ("gradcam", 99)}, "Layer 98 does not exist"),
        ({"cam": ("magic", 1)}, "No map is called 'magic'"),
    ],
)
def test_what_cannot_be_analysed_is_said_in_a_sentence(visit, change, words):
    with pytest.raises(Error) as caught:
        visit(**change)
    assert words in caught.value.message
    assert len(caught.value.message) < 300


class BrokenStudio(FurnishedStudio):
    """A studio in which something unforeseen happens."""

    def load(self, *_):
        raise RuntimeError("/home/somebody/secret.py broke")


def test_an_unforeseen_failure_tells_no_secrets():
    broken = {"backbone": "mini", "prompts": "none", **FORM}
    with pytest.raises(Error) as caught:
        last(Page(BrokenStudio()).analyse(noise_picture(), "cat", *in_order(broken)))
    assert "Something went wrong on our side" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, "There is no picture yet."),
        ({"classes": ""}, "The class list is empty."),
        ({"prompts": "nothing"}, "There is no file 'nothing'."),
        ({"backbone": "nothing"}, "No CLIP is called 'nothing'."),
    ],
)
def test_a_program_is_told_in_the_same_words(furnished, change, words):
    studio, backbone, prompts = furnished
    asked = {"image": noise_picture(), "classes": "cat", "backbone": backbone, "prompts": prompts}
    with pytest.raises(Error) as caught:
        Page(studio).api_analyse(**asked | change)
    assert words in caught.value.message


def test_what_the_page_chooses_itself_is_not_drawn_twice(furnished):
    demo = build_demo(furnished[0])
    target = next(i for i, block in demo.blocks.items() if block.elem_id == "target")
    events = [event for one in demo.fns.values() for i, event in one.targets if i == target]
    assert events == ["select"]


def test_no_two_callbacks_keep_each_other_going(furnished):
    """Gradio asks all callbacks of an event again where one was asked again meanwhile: `heard`."""
    demo = build_demo(furnished[0])
    patient = Counter(
        target
        for one in demo.fns.values()
        for target in one.targets
        if one.trigger_mode == "always_last" and one.fn is not None and target[0] in demo.blocks
    )
    assert max(patient.values()) == 1


# --- the running app ---


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The app over `mini` with fresh prompts, running here; its address, studio and prompts."""
    folder = tmp_path_factory.mktemp("site")
    path = save_fresh_prompts(folder / "fresh.safetensors", load_backbone("mini"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", str(folder / "gradio"))
        environment.setenv("NO_PROXY", "127.0.0.1,localhost")
        studio = FurnishedStudio(path)
        demo = build_demo(studio)
        _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
        yield url, studio, str(path)
        demo.close()


@pytest.fixture(scope="module")
def client(site):
    """A program that uses the app."""
    return Client(site[0], verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """The path of a picture."""
    path = tmp_path_factory.mktemp("photo") / "noise.png"
    noise_picture(200, 240).save(path)
    return path


@pytest.fixture(scope="module")
def answer(client, site, photo):
    """What the app answers a program about three classes."""
    return client.predict(
        handle_file(photo), "cat, dog, <b>sea</b> lion", "mini", site[2], 3, api_name="/analyse"
    )


def test_only_three_endpoints_are_public(client):
    listed = client.view_api(return_format="dict", print_info=False)
    assert {*listed["named_endpoints"]} == {"/analyse", "/evidence", "/options"}
    assert listed["unnamed_endpoints"] == {}


def test_an_answer_comes_as_a_file_that_holds_all_of_it(client, site, photo, answer, tmp_path):
    asked = (handle_file(photo), "cat, dog, <b>sea</b> lion", "mini", site[2], 3)
    found = client.predict(*asked, api_name="/evidence")
    (tmp_path / found["name"]).write_bytes(base64.b64decode(found["data"]))
    stored = load_analysis(tmp_path / found["name"])
    assert list(stored.classes) == answer["classes"]
    for condition, said in answer["predictions"].items():
        assert stored.predictions[condition].cosines.tolist() == said["cosines"]
    assert stored.settings.seed == 3


def test_the_endpoint_names_and_types_what_it_takes(client):
    listed = client.view_api(return_format="dict", print_info=False)
    taken = listed["named_endpoints"]["/analyse"]["parameters"]
    kinds = {one["label"]: one["python_type"]["type"] for one in taken}
    assert [*kinds] == ["Photograph", "Classes", "Backbone", "Trained prompts", "Seed"]
    assert kinds["Classes"] == "str"
    assert kinds["Seed"] in ("float", "int")


def test_the_classes_come_back_as_they_were_given(answer):
    assert answer["classes"] == ["cat", "dog", "<b>sea</b> lion"]


@pytest.mark.parametrize("condition", ["frozen", "adapted", "vanilla", "iwtd"])
def test_the_predictions_of_each_condition_sum_to_one(answer, condition):
    said = answer["predictions"][condition]
    assert sum(said["probabilities"]) == pytest.approx(1, abs=1e-5)
    powers = np.exp(np.array(said["cosines"]) * said["logit_scale"])
    np.testing.assert_allclose(said["probabilities"], powers / powers.sum(), atol=1e-5)


@pytest.mark.parametrize("condition", ["frozen", "adapted", "vanilla", "iwtd"])
def test_every_layer_has_the_importance_of_its_patches(answer, condition):
    layers = answer["layers"][condition]
    assert [one["layer"] for one in layers] == [*range(1, 13)]
    for one in layers:
        shares = np.array(one["importance"])
        assert shares.shape == (14, 14)
        assert 0 < shares.sum() <= 1 + 1e-5


def test_drops_are_told_where_they_are_drawn(answer):
    drawn = {c: [one["dropped"] is not None for one in ls] for c, ls in answer["layers"].items()}
    assert drawn["vanilla"] == drawn["iwtd"] == [True] * 6 + [False] * 6
    assert not any(drawn["frozen"] + drawn["adapted"])
    assert np.array(answer["layers"]["vanilla"][0]["dropped"]).shape == (14, 14)


def test_a_program_gets_the_numbers_of_the_library(answer, site, photo):
    _, studio, prompts = site
    loaded = studio.load("mini", prompts)
    settings = AnalysisSettings(dropout=loaded.card.dropout, seed=3)
    picture = noise_picture(200, 240)
    expected = studio.analyse(loaded, picture, tuple(answer["classes"]), settings)
    said = expected.predictions["iwtd"].probabilities
    np.testing.assert_allclose(answer["predictions"]["iwtd"]["probabilities"], said, atol=1e-6)
    assert answer["provenance"] == expected.provenance


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": " , "}, "The class list is empty."),
        ({"image": None}, "There is no picture yet."),
        ({"prompts": "nothing"}, "There is no file 'nothing'."),
    ],
)
def test_an_error_comes_back_as_its_sentence(client, photo, change, words):
    asked = {"image": handle_file(photo), "classes": "cat", "backbone": "mini"} | change
    with pytest.raises(AppError, match=words):
        client.predict(**{"prompts": NO_PROMPTS, "seed": 0} | asked, api_name="/analyse")


def test_a_damaged_picture_comes_back_as_its_sentence(client, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    with pytest.raises(AppError, match="picture"):
        client.predict(handle_file(path), "cat", "mini", NO_PROMPTS, 0, api_name="/analyse")


def test_the_options_list_what_can_be_asked_for(client, site):
    options = client.predict(api_name="/options")
    assert options["backbones"] == [*BACKBONES]
    assert site[2] in options["prompts"]["mini"]
    assert "zero" in options["modes"]
    assert options["placements"] == ["next", "post"]


def get(site, path, **kwargs):
    """A request to the app, past any proxy."""
    with httpx.Client(trust_env=False, base_url=site[0]) as http:
        return http.request(kwargs.pop("method", "GET"), path, **kwargs)


@pytest.mark.parametrize(
    "path",
    [
        "pwa_icon/64",
        "monitoring/summary",
        "docs",
        "openapi.json",
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=http://example.com/",
        "gradio_api/file=app.py",
        "gradio_api/run/analyse",
    ],
)
def test_a_route_the_page_does_not_use_is_closed(site, path):
    assert get(site, path).status_code in (403, 404, 405)


def test_a_program_cannot_have_a_file_of_the_server_read(site, tmp_path):
    path = tmp_path / "mine.png"
    noise_picture().save(path)
    file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    asked = {"data": [file, "cat", "mini", NO_PROMPTS, 0]}
    started = get(site, "gradio_api/call/analyse", method="POST", json=asked)
    events = get(site, f"gradio_api/call/analyse/{started.json().get('event_id')}", timeout=30).text
    assert "event: error" in events
    assert "predictions" not in events


def test_an_upload_over_the_limit_is_refused(site):
    files = {"files": ("big.png", b"x" * 11 * 2**20)}
    assert get(site, "gradio_api/upload", method="POST", files=files).status_code == 413


def test_the_page_allows_nothing_from_elsewhere(site):
    policy = get(site, "").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_on_a_public_page_only_listed_prompts_are_read(furnished):
    page = Page(Studio("cpu", own_files=False))
    with pytest.raises(Error) as caught:
        page.api_analyse(noise_picture(), "cat", "mini", furnished[2])
    assert "only the prompts in the list" in caught.value.message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_starting_on_a_missing_device_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["app.py", "--device", "cuda"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "There is no CUDA device here. Start with --device cpu" in capsys.readouterr().err
