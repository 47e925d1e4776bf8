import dataclasses
import json

import numpy as np
import pytest
import soundfile

from earshot.audio.windows import to_int16
from earshot.errors import DataError, EarshotError
from earshot.explain.explaining import explain_clip, explain_file
from earshot.explain.filters import Filters
from earshot.explain.layers import Layer
from earshot.explain.page import Pictures, render_explanation
from earshot.explain.writing import write_explanation
from earshot.report import explanation as draw

from .conftest import CNN, RATE_HZ, SVM, WAVE, bundle_of, burst, noise

HOSTILE = "<script>alert(1)</script> & \"'.wav"


@pytest.fixture(scope="module")
def bundle(cnn, svm, wave_net):
    return bundle_of(svm=(SVM, [svm], 0.3), cnn=(CNN, [cnn, cnn], 0.4), wave=(WAVE, [wave_net], 0.3))


@pytest.fixture(scope="module")
def long_clip():
    """Three windows; the burst is in the second one."""
    parts = [noise(1), burst(2, place_s=(0.4, 0.6), frequency_hz=2_000), noise(3)]
    return to_int16(np.concatenate(parts).astype(np.float32))


@pytest.fixture(scope="module")
def found(bundle, long_clip):
    return explain_clip(bundle, long_clip, name=HOSTILE, class_name="burst")


def test_a_long_clip_is_explained_where_it_says_most_for_the_class(found):
    assert found.start_s == 1.0
    assert found.clip_s == 3.0
    assert found.window_probs[found.k] > found.probs[found.k]


def test_a_moment_can_be_chosen(svm, long_clip):
    bundle = bundle_of(svm=(SVM, [svm], 1.0))
    found = explain_clip(bundle, long_clip, class_name="noise", at_s=2.7)
    assert found.start_s == 2.0  # moved back: the window ends with the clip
    assert found.classes[found.k] == "noise"
    for at_s in (-1.0, 3.0):
        with pytest.raises(EarshotError, match="--at"):
            explain_clip(bundle, long_clip, at_s=at_s)


def test_an_unknown_class_is_refused_with_those_there_are(bundle, long_clip):
    with pytest.raises(EarshotError, match="'meow'; expected one of burst, noise"):
        explain_clip(bundle, long_clip, class_name="meow")


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_what_is_no_sound_file_is_refused(kind, bundle, tmp_path):
    path = {"missing": tmp_path / "no.wav", "folder": tmp_path, "text": tmp_path / "text.wav"}[kind]
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(DataError) as error:
        explain_file(bundle, path)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained") / "out"
    write_explanation(found, folder, command="earshot explain")
    return folder


def test_the_folder_has_a_page_a_sound_and_figures(folder):
    samples, rate_hz = soundfile.read(folder / "salient.wav")
    assert (len(samples), rate_hz) == (8_000, RATE_HZ)
    values = json.loads((folder / "explanation.json").read_text())
    assert values["class"] == "burst"
    assert sum(values["probabilities"]) == pytest.approx(1, abs=1e-4)
    for member in values["members"].values():
        for fold in member["fold_models"]:
            logit = fold["logits"][values["classes"].index("burst")]
            assert sum(fold["contributions"]) + fold["bias"] == pytest.approx(logit, abs=1e-3)
    assert {each["method"] for each in values["faithfulness"]["maps"]} == {
        "occlusion",
        "grad_cam",
        "integrated_gradients",
    }
    assert (folder / "explain.html").stat().st_size < 15e6


def test_the_page_is_complete_and_escapes_names(found, folder):
    page = (folder / "explain.html").read_text()
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count("<audio") == 2
    assert page.count("<details") == 3
    assert "convolution 5×5" in page
    assert found.tested[0].verdict.sentence.split(":")[0] in page


@pytest.mark.parametrize(("features", "lowest"), [("log_mel", 0), ("picture", -1)])
def test_layers_and_filters_have_the_lowest_frequency_at_the_bottom(found, monkeypatch, features, lowest):
    maps = np.zeros((2, 4, 3), np.float32)
    maps[:, lowest] = 1.0
    member = dataclasses.replace(
        found.members[1], features=features, layers=[Layer("maps", maps)], filters=Filters(maps)
    )
    drawn = []
    monkeypatch.setattr(draw, "maps_image", lambda given: drawn.append(given) or "")
    render_explanation(dataclasses.replace(found, members=[member]))
    assert len(drawn) == 2
    for given in drawn:  # the first row is drawn at the bottom
        assert given[:, 0].all()
        assert not given[:, 1:].any()


def test_pictures_that_find_no_room_are_left_out():
    pictures = Pictures(room=10)
    assert pictures.bounded("small") == "small"
    assert pictures.bounded("too large") == ""


def test_a_clip_shorter_than_the_window_is_said_to_be_repeated(svm):
    bundle = bundle_of(svm=(SVM, [svm], 1.0))
    short = explain_clip(bundle, to_int16(noise(5)[:3_000].astype(np.float32)))
    assert "repeated" in render_explanation(short)
    assert len(short.salient) == 8_000
