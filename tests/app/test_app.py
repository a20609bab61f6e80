"""The running app as a program meets it."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import pytest
import torch
from furnished import FurnishedStudio, save_fresh_prompts
from gradio import Error
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from serving import call, upload, visitor
from tiny import noise_picture

from app.demo import build_demo, launch, main
from app.page import Page
from app.studio import BACKBONES, NO_PROMPTS, Studio
from drople.analysis import AnalysisSettings
from drople.models.backbone import load_backbone
from drople.storage.analyses import load_analysis

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


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
    assert [*kinds] == ["image", "classes", "backbone", "prompts", "seed"]
    assert kinds["classes"] == "str"
    assert kinds["seed"] in ("float", "int")


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
        ({"prompts": "nothing"}, "There are no prompts 'nothing'."),
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


def told(site, given):
    """What the app says to a call of `/analyse` that it refuses."""
    with visitor(site[0], patience=30) as http, pytest.raises(RuntimeError) as caught:
        call(http, "analyse", given)
    return str(caught.value)


MARK = {"meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize("sent", [{}, {"meta": {}}, {"meta": None}, MARK])
def test_a_program_cannot_have_a_file_of_the_server_read(site, photo, sent):
    words = told(site, [{"path": str(photo)} | sent, "cat", "mini", NO_PROMPTS, 0])
    assert "image: Send the picture as a file." in words


PICTURE = object()  # where the test puts one that was uploaded


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("image", []),
        ("image", [None]),
        *(("image", [value]) for value in (True, 1, "x", [], {}, {"path": 5}, {"path": "\0"})),
        ("image", [{"path": "http://127.0.0.1/x.png", **MARK}, "cat"]),
        ("classes", [PICTURE]),
        *(("classes", [PICTURE, value]) for value in (None, "", [], [1], ["a, b"], 7, {"path": 1})),
        ("classes", [PICTURE, {"path": "/etc/passwd", **MARK}]),
        *(("backbone", [PICTURE, "cat", value]) for value in (None, 3, [], "nothing", "")),
        *(("prompts", [PICTURE, "cat", "mini", value]) for value in (None, {}, "nothing", "\0")),
        *(
            ("seed", [PICTURE, "cat", "mini", NO_PROMPTS, value])
            for value in (None, "abc", "1", 1.5, -1, 1e30, True, [0], {"path": "x", **MARK})
        ),
    ],
)
def test_a_refused_call_is_told_which_field_and_why(site, photo, field, given):
    with visitor(site[0]) as http:
        uploaded = upload(http, photo.name, photo.read_bytes())
    words = told(site, [uploaded if value is PICTURE else value for value in given])
    assert field in words
    assert "our side" not in words


def test_what_a_call_leaves_out_is_as_documented(site, photo):
    with visitor(site[0]) as http:
        picture = upload(http, photo.name, photo.read_bytes())
        short = call(http, "analyse", [picture, ["cat", "dog"]])
        assert short["provenance"]["backbone"] == "mini"
        assert short == call(http, "analyse", [picture, "cat, dog", "mini", site[2], 0])


def test_an_upload_over_the_limit_is_refused(site):
    files = {"files": ("big.png", b"x" * 25 * 2**20)}
    assert get(site, "gradio_api/upload", method="POST", files=files).status_code == 413


def test_the_page_allows_nothing_from_elsewhere(site):
    policy = get(site, "").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_on_a_public_page_only_listed_prompts_are_read(furnished):
    page = Page(Studio("cpu", own_files=False))
    with pytest.raises(Error) as caught:
        page.api_analyse(image=noise_picture(), classes="cat", prompts=furnished[2])
    assert "only the prompts in the list" in caught.value.message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_starting_on_a_missing_device_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["app.py", "--device", "cuda"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "There is no CUDA device here. Start with --device cpu" in capsys.readouterr().err
