from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_predict, cross_val_score

from earshot import AudioClassifier, Bundle, read_clips
from earshot.errors import ConfigError, DataError, DecodeError
from earshot.recipe import load_recipe

from . import corpus

CHANGES = ("rate_hz=8000", "n_fft=256", "hop_length=128", "n_mels=16", "window_s=0.4")


def fast(**options: object) -> AudioClassifier:
    return AudioClassifier("fast", changes=CHANGES, **options)  # type: ignore[arg-type]


def cnn(seed: int = 0) -> AudioClassifier:
    return AudioClassifier("cnn", changes=(*corpus.CNN, "epochs=2"), seed=seed, device="cpu")


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X [N, T], labels and groups [N]."""
    kinds = ("hum", "hiss", "ticks")
    X = np.stack([corpus.sound(kind, seed=i) for i in range(6) for kind in kinds]).astype(np.float32)
    return X, np.array(kinds * 6), np.repeat(np.arange(6), 3)


@pytest.fixture(scope="module")
def fitted(sounds: Path) -> AudioClassifier:
    return fast().fit(read_clips(sounds))


def test_it_is_a_classifier_whose_parameters_can_be_read_set_and_cloned() -> None:
    model = fast(seed=3)
    assert is_classifier(model)
    assert model.get_params() == {"recipe": "fast", "changes": CHANGES, "seed": 3, "device": "auto"}
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    assert copy.set_params(seed=4, recipe="cnn").get_params()["seed"] == 4
    assert model.seed == 3
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(epochs=3)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "save"])
def test_nothing_works_before_fit(method: str, tmp_path: Path) -> None:
    args = (tmp_path,) if method == "save" else (np.zeros((2, 800), np.float32), ["a", "b"])
    with pytest.raises(NotFittedError):
        getattr(fast(), method)(*args[: 2 if method == "score" else 1])


def test_a_wrong_recipe_is_told_at_fit(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="resnet"):
        AudioClassifier("resnet").fit(arrays[0], arrays[1])


def test_clips_in_classes_out(fitted: AudioClassifier, sounds: Path) -> None:
    clips = read_clips(sounds)
    assert fitted.classes_.tolist() == ["hiss", "hum", "ticks"]
    probs = fitted.predict_proba(clips)
    assert probs.shape == (18, 3)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert fitted.predict(clips).tolist() == clips.table["label"].tolist()
    assert fitted.score(clips) == 1.0
    assert fitted.score(clips, clips.table["label"].to_numpy()) == 1.0


def test_paths_arrays_and_clips_give_the_same(fitted: AudioClassifier, sounds: Path) -> None:
    import soundfile

    clips = read_clips(sounds)
    paths = clips.table["path"].tolist()
    expected = fitted.predict_proba(clips)
    for given in (
        paths,
        [Path(path) for path in paths],
        np.array(paths),
        pd.DataFrame({"path": paths}),
        sounds,
    ):
        np.testing.assert_array_equal(fitted.predict_proba(given), expected)
    waveforms = [soundfile.read(path, dtype="float32")[0] for path in paths]
    np.testing.assert_allclose(fitted.predict_proba(waveforms), expected, atol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(np.stack(waveforms)), expected, atol=1e-5)
    ragged = np.empty(len(paths), dtype=object)
    ragged[:] = waveforms
    np.testing.assert_allclose(fitted.predict_proba(ragged), expected, atol=1e-5)


def test_rows_stand_where_their_paths_stand(fitted: AudioClassifier, sounds: Path) -> None:
    hum, ticks = sounds / "hum" / "hum0000.wav", sounds / "ticks" / "ticks0000.wav"
    assert fitted.predict([ticks, hum, ticks, ticks]).tolist() == ["ticks", "hum", "ticks", "ticks"]
    assert fitted.predict([]).tolist() == []
    assert fitted.predict_proba([]).shape == (0, 3)


def test_paths_with_labels_can_be_learned_from(sounds: Path) -> None:
    paths = sorted(sounds.rglob("*.wav"))
    model = fast().fit(paths, [path.parent.name for path in paths])
    assert model.score(paths, [path.parent.name for path in paths]) == 1.0


def test_a_frame_of_paths_and_labels_can_be_learned_from(sounds: Path) -> None:
    frame = read_clips(sounds).table[["path", "label", "group"]]
    assert fast().fit(frame).classes_.tolist() == ["hiss", "hum", "ticks"]


def test_labels_that_are_numbers_are_scored_before_and_after_saving(
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    X, names, _ = arrays
    y = np.unique(names, return_inverse=True)[1]
    model = fast().fit(X, y)
    assert model.predict(X).dtype.kind == "i"
    model.save(tmp_path / "model")
    assert model.score(X, y) == AudioClassifier.load(tmp_path / "model").score(X, y) > 0.9
    assert model.score(X, (y + 1) % 3) < 0.1
    assert model.score(X, y.astype(float)) > 0.9


def test_cross_val_score_with_groups(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, y, groups = arrays
    scores = cross_val_score(fast(), X, y, groups=groups, cv=GroupKFold(2))
    assert scores.tolist() == [1.0, 1.0]
    said = cross_val_predict(fast(), X, y, groups=groups, cv=GroupKFold(2), method="predict_proba")
    assert said.shape == (18, 3)


def test_whole_number_labels_come_back_as_whole_numbers(
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    X, y, _ = arrays
    numbers = np.array([{"hum": 10, "hiss": 2, "ticks": -1}[name] for name in y])
    model = fast().fit(X, numbers)
    assert model.classes_.tolist() == [-1, 2, 10]
    assert model.predict(X).tolist() == numbers.tolist()
    assert model.bundle_.classes == ("-1", "2", "10")


def test_clips_of_other_lengths_than_in_training(fitted: AudioClassifier) -> None:
    lengths_s = (0.05, 0.4, 3.0)
    given = [corpus.sound("hum", seed=70, duration_s=s).astype(np.float32) for s in lengths_s]
    assert fitted.predict_proba(given).shape == (3, 3)
    assert fitted.predict(given[1:]).tolist() == ["hum", "hum"]


def test_saved_and_loaded_it_says_the_same(fitted: AudioClassifier, sounds: Path, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    again = AudioClassifier.load(tmp_path / "model")
    assert again.classes_.tolist() == fitted.classes_.tolist()
    np.testing.assert_array_equal(again.predict_proba(sounds), fitted.predict_proba(sounds))
    assert Bundle.load(tmp_path / "model").classes == ("hiss", "hum", "ticks")
    assert "not measured" in (tmp_path / "model" / "README.md").read_text()


def test_one_seed_one_model(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, y, _ = arrays
    first, second, other = (cnn(seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4


def test_the_global_generators_are_left_alone(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    import torch

    X, y, _ = arrays
    before = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    cnn().fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert pickle.dumps(np.random.get_state()) == before[1]  # noqa: NPY002


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        (np.zeros((4, 100), np.float32), None, "fit: y is None"),
        (np.zeros((4, 100), np.float32), ["a", "b"], "number of labels is 2; expected one a clip (4)"),
        (np.zeros((4, 100), np.float32), ["a"] * 4, "classes is"),
        (np.zeros((4, 2), np.float32)[:, :0], ["a", "b"] * 2, "row 0 is (0,)"),
        (np.full((4, 100), np.nan, np.float32), ["a", "b"] * 2, "finite samples"),
        (np.zeros((4, 2, 100), np.float32), ["a", "b"] * 2, "row 0 is (2, 100)"),
        (np.full((4, 100), 12_000, np.int16), ["a", "b"] * 2, "int16 with a peak of 12000"),
        (np.full((4, 100), 12_000.0), ["a", "b"] * 2, "float samples in [-1, 1]"),
        (np.zeros((4, 100), np.float32), np.eye(4), "shape of y is (4, 4)"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(X: np.ndarray, y: object, said: str) -> None:
    with pytest.raises(DataError) as refusal:
        fast().fit(X, y)  # type: ignore[arg-type]
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_an_error_with_its_reason(
    fitted: AudioClassifier, sounds: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    good = sounds / "hum" / "hum0000.wav"
    with pytest.raises(DecodeError, match=r"bad\.wav") as refusal:
        fitted.predict([good, tmp_path / "bad.wav"])
    assert refusal.value.reason == "truncated"
    with pytest.raises(DecodeError, match="nowhere"):
        fitted.predict([tmp_path / "nowhere.wav"])
    with pytest.raises(DataError, match=r"bad\.wav"):
        fast().fit([good, tmp_path / "bad.wav"], ["a", "b"])


def test_of_clips_the_unreadable_are_left_out_with_a_warning(tmp_path: Path) -> None:
    data = corpus.make(tmp_path, ("hum", "hiss"), n=3)
    (data / "hum" / "bad.wav").write_bytes(b"RIFF")
    with pytest.warns(UserWarning, match=r"1 of 7 clips could not be read .*bad\.wav"):
        model = fast().fit(read_clips(data))
    assert model.classes_.tolist() == ["hiss", "hum"]


def test_clips_marked_test_are_not_learned_from(tmp_path: Path) -> None:
    corpus.make(tmp_path / "train", ("hum", "hiss"), n=3)
    corpus.make(tmp_path / "test", ("hum", "hiss"), n=3, first_seed=9, names={"hum": "hiss", "hiss": "hum"})
    clips = read_clips(tmp_path)
    model = fast().fit(clips)
    assert model.score(clips.subset(clips.table["split"] == "test")) == 0.0


def test_a_table_beside_labels_keeps_its_test_split(sounds: Path) -> None:
    clips = read_clips(sounds)
    split = ["test" if i % 2 else "train" for i in range(len(clips))]
    table = pd.DataFrame({"path": clips.table["path"], "split": split})
    labels = clips.table["label"].to_numpy()
    beside, own = fast().fit(table, labels), fast().fit(table.assign(label=labels))
    np.testing.assert_array_equal(beside.predict_proba(clips), own.predict_proba(clips))
    assert beside.classes_.tolist() == own.classes_.tolist()


def test_classes_without_a_clip_to_learn_from_are_none(sounds: Path) -> None:
    clips = read_clips(sounds)
    is_hum = (clips.table["label"] == "hum").to_numpy()
    model = fast().fit(clips.assign(split=np.where(is_hum, "test", "train").tolist()))
    assert model.classes_.tolist() == ["hiss", "ticks"]
    with pytest.raises(DataError, match="classes is"):
        fast().fit(clips.assign(split=np.where(is_hum, "train", "test").tolist()))


@pytest.mark.parametrize(
    "kind",
    ['"random_forest", "n_trees": 5', '"mlp_lbfgs", "hidden": [4], "iterations": 3'],
)
def test_seeds_reach_what_classical_models_draw(
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray], kind: str
) -> None:
    X, y, _ = arrays
    recipe = load_recipe("fast", CHANGES).model_dump()
    (name,) = recipe["members"]
    recipe["members"][name]["model"] = json.loads(f'{{"kind": {kind}}}')
    first, second, other = (AudioClassifier(recipe, seed=s).fit(X, y).predict_proba(X) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4


def test_several_labels_a_clip_give_marks(tmp_path: Path) -> None:
    lines = ["path,label"]
    for i in range(12):
        label = ("hum", "hiss", "hum;hiss")[i % 3]
        mix = np.sum([corpus.sound(kind, seed=i) for kind in label.split(";")], axis=0)
        corpus.write(tmp_path / f"{i}.wav", mix)
        lines.append(f"{i}.wav,{label}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    clips = read_clips(tmp_path / "list.csv")
    model = fast().fit(clips)
    assert model.predict(clips).shape == (12, 2)
    assert model.predict(clips).dtype == bool
    assert model.score(clips) > 0.8


def test_a_pretrained_backbone_is_needed_for_training_only(
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    shape = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    weights = tmp_path / "weights"
    transformers.ResNetModel(shape).save_pretrained(weights)
    recipe = {
        "audio": {"rate_hz": 8_000, "window_s": 0.4},
        "members": {
            "transfer": {
                "features": {"kind": "log_mel", "n_fft": 256, "hop_length": 128, "n_mels": 16},
                "model": {"kind": "resnet", "weights": str(weights)},
                "training": {"epochs": 1},
            }
        },
    }
    X, y, _ = arrays
    model = AudioClassifier(recipe, device="cpu").fit(X, y)
    model.save(tmp_path / "model")
    shutil.rmtree(weights)
    loaded = AudioClassifier.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-5)
