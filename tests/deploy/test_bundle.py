import json
import pickle
import shutil
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from earshot.audio.windows import InMemory
from earshot.deploy import bundle as bundle_module
from earshot.deploy.bundle import Bundle, card_scores, environment
from earshot.deploy.config import CLIP_SCORES
from earshot.deploy.decisions import DecisionsData
from earshot.deploy.manifest import write_manifest
from earshot.deploy.novelty import NoveltyModel
from earshot.errors import BundleError
from earshot.evaluation.ensemble import pool
from earshot.evaluation.relative_distance import RelativeDistance
from earshot.training.members import FoldData, held_out_probs

from .conftest import CLASSES, make_bundle, noises


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the saved model, to be damaged."""
    return shutil.copytree(saved, tmp_path / "model")


def refusal(folder):
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewritten(folder, change):
    """Changes config.json and lists it anew, as an attacker would."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    write_manifest(folder)


def test_a_saved_model_gives_the_same_probabilities(bundle, saved):
    clips = [*noises(4), *noises(1, n_samples=7), *noises(1, n_samples=7_001)]
    loaded = Bundle.load(saved, device="cpu")
    np.testing.assert_array_equal(np.stack(list(loaded.score(clips))), np.stack(list(bundle.score(clips))))
    assert loaded.config == bundle.config
    assert loaded.card == bundle.card
    assert loaded.trained_on == bundle.trained_on


def test_a_loaded_model_saves_the_same_files(saved, tmp_path):
    Bundle.load(saved, device="cpu").save(tmp_path / "again")
    first, again = (json.loads((f / "manifest.json").read_text()) for f in (saved, tmp_path / "again"))
    assert first.keys() == again.keys()
    # skops writes the time and the addresses of objects into its archives.
    assert {name for name in first if first[name] != again[name]} <= {"fast-1.skops"}


def test_probabilities_are_rows_over_the_classes(bundle):
    probs = np.stack(list(bundle.score(noises(5))))
    assert probs.shape == (5, len(CLASSES))
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def test_floats_score_as_the_same_sixteen_bit_samples(bundle):
    clips = noises(3)
    floats = [clip / 32_768 for clip in clips]
    np.testing.assert_array_equal(bundle.score_waveforms(floats), np.stack(list(bundle.score(clips))))
    assert bundle.score_waveforms([]).shape == (0, len(CLASSES))


def test_a_file_of_the_training_is_recognised(saved):
    loaded = Bundle.load(saved, device="cpu")
    assert loaded.heard_in_training("ab" * 32)
    assert not loaded.heard_in_training("ef" * 32)


def test_members_with_equal_features_share_one_front_end():
    first, second = make_bundle()._fitted["cnn"]
    assert first.features is second.features


def test_a_hundred_byte_flips_are_a_hundred_refusals(folder):
    rng = np.random.default_rng(1)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for i in range(100):
        path = files[i % len(files)]
        content = path.read_bytes()
        at = rng.integers(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.integers(8))]) + content[at + 1 :])
        refusal(folder)
        path.write_bytes(content)
    Bundle.load(folder, device="cpu")


@pytest.mark.parametrize("name", ["cnn-1.safetensors", "fast-1.skops", "golden/golden.safetensors"])
def test_a_renamed_pickle_is_refused_and_never_runs(folder, tmp_path, name):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "canary").mkdir, ()

    (folder / name).write_bytes(pickle.dumps(Trap()))
    refusal(folder)
    write_manifest(folder)
    refusal(folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["../outside.safetensors", "README.md/../../outside.safetensors"])
def test_weights_are_read_from_the_checked_files_only(folder, tmp_path, name):
    shutil.copy(folder / "cnn-1.safetensors", tmp_path / "outside.safetensors")
    rewritten(folder, lambda c: c["members"]["cnn"].update(files=[name, "cnn-2.safetensors"]))
    assert f"weights file is '{name}'" in refusal(folder)


def test_other_weights_than_those_that_were_saved_fail_the_golden_sounds(folder):
    path = folder / "cnn-1.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["head.weight"] *= -3
    safetensors.torch.save_file(tensors, path)
    write_manifest(folder)
    assert "golden probability error" in refusal(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("members", "cnn", "config", "features", "n_mels"), 15),
        (("members", "cnn", "config", "features", "f_max_hz"), 1_000.0),
        (("members", "fast", "temperatures"), [3.0]),
        (("rate_hz",), 8_000),
        (("classes",), ["a", "b"]),
        (("multilabel",), True),
    ],
)
def test_other_settings_than_those_of_the_training_are_refused(folder, path, value):
    def change(config):
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    rewritten(folder, change)
    refusal(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format"),
        ({"rate_hz": 10}, "rate_hz"),
        ({"window_samples": 2**26}, "0.01 to 60 seconds"),
        ({"hop_samples": 1}, "hop of 0.005 seconds"),
        ({"members": {}}, "members"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_configuration_out_of_bounds_is_refused_at_once(folder, change, said):
    rewritten(folder, lambda config: config.update(change))
    started = time.process_time()
    assert said in refusal(folder)
    assert time.process_time() - started < 1


def test_features_too_large_for_memory_are_refused(folder):
    def change(config):
        config.update(rate_hz=768_000, window_samples=768_000 * 60, hop_samples=768_000)
        config["members"]["cnn"]["config"]["features"].update(hop_length=1, n_mels=1024)

    rewritten(folder, change)
    assert "numbers a window" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 99_999, b'{"format": 1e999}', b"\xff"])
def test_a_configuration_that_makes_no_sense_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    write_manifest(folder)
    refusal(folder)


def test_golden_sounds_or_answers_that_are_not_ours_are_refused(folder):
    path = folder / "golden" / "golden.safetensors"
    golden = safetensors.torch.load_file(path)
    for change in (
        {"clips": golden["clips"].roll(1, 0)},
        {"clips": golden["clips"].float()},
        {"probs": golden["probs"][:2]},
        {"probs": torch.full_like(golden["probs"], torch.nan)},
        {"probs": golden["probs"] + 0.01},
    ):
        safetensors.torch.save_file({**golden, **change}, path)
        write_manifest(folder)
        refusal(folder)
    safetensors.torch.save_file({"clips": golden["clips"]}, path)
    write_manifest(folder)
    assert "cannot be read" in refusal(folder)


def test_the_list_of_training_contents_must_make_sense(folder):
    path = folder / "trained_on.safetensors"
    for tensors in ({}, {"contents": torch.full((2,), torch.nan)}, {"contents": torch.zeros(2, 2)}):
        safetensors.torch.save_file(tensors, path)
        write_manifest(folder)
        assert "trained_on" in refusal(folder)


def test_a_card_in_strange_bytes_is_no_obstacle(folder):
    (folder / "README.md").write_bytes(b"caf\xe9")
    write_manifest(folder)
    assert Bundle.load(folder, device="cpu").card.startswith("caf")


@pytest.mark.parametrize("is_new", [True, False])
def test_a_save_that_fails_leaves_what_was_there(bundle, folder, tmp_path, monkeypatch, is_new):
    target = tmp_path / "new" / "model" if is_new else folder
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    around = set(target.parent.iterdir()) if target.parent.exists() else set()
    monkeypatch.setattr(bundle_module, "write_manifest", lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bundle.save(target)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert set(target.parent.iterdir()) == around
    if not is_new:
        Bundle.load(folder, device="cpu")


def test_a_model_that_a_killed_save_had_put_aside_comes_back(bundle, folder, monkeypatch):
    folder.rename(folder.parent / f".{folder.name}.old")
    monkeypatch.setattr(bundle_module, "write_manifest", lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bundle.save(folder)
    Bundle.load(folder, device="cpu")


def test_what_a_killed_save_has_left_is_in_nobodys_way(bundle, tmp_path):
    bundle.save(tmp_path / "model")
    for name in (".model.part", ".model.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cnn-1.safetensors").write_bytes(b"half")
    bundle.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    Bundle.load(tmp_path / "model", device="cpu")


def test_golden_sounds_are_checked_in_full_precision_whatever_the_device_prefers(bundle, tmp_path):
    networks = bundle._fitted["cnn"]
    kept = [network.precision for network in networks]
    for network in networks:
        network.precision = "bf16"
    try:
        bundle.save(tmp_path / "model")
        assert {network.precision for network in networks} == {"bf16"}
    finally:
        for network, precision in zip(networks, kept, strict=True):
            network.precision = precision
    Bundle.load(tmp_path / "model", device="cpu")


def test_a_member_needs_a_temperature_a_file(bundle):
    values = bundle.config.model_dump()
    values["members"]["cnn"]["temperatures"] = [1.0]
    with pytest.raises(ValidationError, match="one temperature a file"):
        type(bundle.config).model_validate(values)


def test_scores_and_card_are_carried_along(bundle, tmp_path):
    measured = card_scores({"accuracy": np.float64(0.75), "accuracy_ci95": [0.7, 0.8], "confusion": [[1]]})
    bundle.described(measured, "# measured\n").save(tmp_path / "model")
    loaded = Bundle.load(tmp_path / "model", device="cpu")
    assert loaded.config.scores == {"accuracy": 0.75, "accuracy_ci95": [0.7, 0.8]}
    assert loaded.card == "# measured\n"


def test_the_environment_names_versions_and_machine():
    assert {"earshot", "python", "torch", "platform", "processor"} <= set(environment())
    assert all(isinstance(value, str) and value for value in environment().values())


DECISIONS = DecisionsData.model_validate(
    {
        "calibrator": {"kind": "temperature", "temperature": 2.0},
        "thresholds": [{"precision": 0.9, "thresholds": [0.5, None, 0.7]}],
        "sets": {"score": "lac", "limit": 0.6, "miss_rate": 0.1, "n_clips": 50},
        "novelty": {"limit": 1.0, "kept": 0.95},
    }
)


def detectors(bundle):
    """Detectors for both members, fitted on noise."""
    rng = np.random.default_rng(0)
    widths = {"fast": 13 * 16 + 16, "cnn": 8}
    labels = np.arange(60) % 3
    fitted = {
        name: tuple(RelativeDistance.fit(rng.normal(size=(60, width)), labels) for _ in bundle.families[name])
        for name, width in widths.items()
    }
    scales = {name: np.array([[0.0, 0.0], [1.0, 1.0]]) for name in widths}
    return NoveltyModel(fitted, scales, dict.fromkeys(widths, 1.0), np.ones(2))


@pytest.fixture
def deciding(bundle, tmp_path):
    """A saved model that calibrates and tells strange sounds."""
    bundle.deciding(DECISIONS, detectors(bundle)).save(tmp_path / "deciding")
    return tmp_path / "deciding"


def test_calibration_acts_on_every_probability_and_is_among_what_golden_sounds_check(bundle, deciding):
    clips = noises(4)
    plain = np.stack(list(bundle.score(clips)))
    loaded = Bundle.load(deciding, device="cpu")
    calibrator = DECISIONS.build_calibrator(multilabel=False)
    np.testing.assert_allclose(np.stack(list(loaded.score(clips))), calibrator.apply(plain), atol=1e-6)
    rewritten(deciding, lambda c: c["decisions"]["calibrator"].update(temperature=0.5))
    assert "golden probability error" in refusal(deciding)


def test_judging_gives_the_same_probabilities_and_the_same_novelty_after_loading(bundle, deciding):
    made = bundle.deciding(DECISIONS, detectors(bundle))
    loaded = Bundle.load(deciding, device="cpu")
    clips = noises(5) + noises(1, n_samples=7_001)
    for one, other, probs in zip(made.judge(clips), loaded.judge(clips), made.score(clips), strict=True):
        np.testing.assert_allclose(one.probs, probs, atol=1e-3)
        np.testing.assert_array_equal(one.probs, other.probs)
        assert one.novelty == pytest.approx(other.novelty, rel=1e-5)
    assert len({judgement.novelty for judgement in loaded.judge(clips)}) == 6


def test_a_model_without_detectors_judges_without_novelty(saved):
    [judgement] = Bundle.load(saved, device="cpu").judge(noises(1))
    assert judgement.novelty is None
    assert not (saved / "novelty.safetensors").exists()


def test_a_configuration_of_before_there_were_decisions_still_loads(folder):
    rewritten(folder, lambda config: config.pop("decisions"))
    assert Bundle.load(folder, device="cpu").config.decisions == DecisionsData()


def test_a_limit_without_detectors_is_refused(deciding):
    (deciding / "novelty.safetensors").unlink()
    write_manifest(deciding)
    assert "novelty.safetensors" in refusal(deciding)


def test_detectors_of_another_model_are_refused(deciding):
    path = deciding / "novelty.safetensors"
    arrays = safetensors.torch.load_file(path)
    arrays["cnn/1/axes"] = torch.zeros(8, 9)
    safetensors.torch.save_file(arrays, path)
    write_manifest(deciding)
    assert "novelty detectors cannot be read" in refusal(deciding)


@pytest.mark.parametrize(
    "change",
    [
        {"calibrator": {"kind": "vector", "scale": [1.0], "shift": [0.0]}},
        {"calibrator": {"kind": "temperature", "temperature": 1e-9}},
        {"thresholds": [{"precision": 0.9, "thresholds": [0.5] * 99}]},
        {"novelty": {"limit": 1.0, "kept": 7.0}},
    ],
)
def test_decisions_out_of_bounds_are_refused(deciding, change):
    rewritten(deciding, lambda config: config["decisions"].update(change))
    assert "config.json" in refusal(deciding)


def uneven(n=4):
    """Clips of four windows, one or two of them loud, two nearly silent."""
    levels = np.repeat([1, 500, 1, 200], 2_000) / 500
    return [
        (clip * np.roll(levels, 2_000 * i)).astype(np.int16)
        for i, clip in enumerate(noises(n, n_samples=8_000))
    ]


def with_windows(**settings):
    made = make_bundle()
    config = made.config.model_copy(update={"hop_samples": 2_000, **settings})
    return Bundle(config, made.families, card=made.card, trained_on=made.trained_on)


@pytest.mark.parametrize("name", CLIP_SCORES.values())
@pytest.mark.parametrize("gate", [{}, {"gate_db": 20.0}, {"gate_dbfs": -40.0}])
def test_a_model_keeps_how_it_chooses_and_pools_windows(tmp_path, name, gate):
    made = with_windows(clip_score=name, **gate)
    made.save(tmp_path / "model")
    loaded = Bundle.load(tmp_path / "model", device="cpu")
    assert loaded.config == made.config
    expected = np.stack(list(made.score(uneven())))
    np.testing.assert_array_equal(np.stack(list(loaded.score(uneven()))), expected)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    plain = np.stack(list(with_windows().score(uneven())))
    assert (expected == plain).all() == (name == CLIP_SCORES["mean"] and not gate)


@pytest.mark.parametrize("score", CLIP_SCORES)
def test_a_model_scores_clips_as_its_training_did(score):
    made = with_windows(clip_score=CLIP_SCORES[score], gate_db=20.0)
    clips, config = InMemory(uneven()), made.config
    data = FoldData(
        view=clips,
        targets=np.eye(3, dtype=np.float32)[[0, 1, 2, 0]],
        groups=np.array(list("abcd"), dtype=object),
        train=np.arange(4),
        test=np.arange(4),
        length=config.window_samples,
        hop=config.hop_samples,
        rate_hz=config.rate_hz,
        multilabel=False,
        gate=config.gate,
        window_score=score,
    )
    families = {
        name: np.mean([held_out_probs(member, data, data.test) for member in members], axis=0)
        for name, members in made.families.items()
    }
    weights = [config.members[name].weight for name in families]
    expected = pool(np.stack(list(families.values())), weights, multilabel=False)
    np.testing.assert_allclose(np.stack(list(made.score(uneven()))), expected, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"gate_db": 6.0},
        {"gate_db": None},
        {"clip_score": CLIP_SCORES["max"]},
    ],
)
def test_other_windows_than_those_of_training_fail_the_golden_sounds(tmp_path, change):
    with_windows(clip_score=CLIP_SCORES["mean_logit"], gate_db=45.0).save(tmp_path / "model")
    rewritten(tmp_path / "model", lambda config: config.update(change))
    assert "golden probability error" in refusal(tmp_path / "model")


@pytest.mark.parametrize("name", ["taken", "taken/model"])
def test_a_file_in_the_place_of_the_folder_is_named_and_left_alone(bundle, tmp_path, name):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(
        BundleError, match=r"taken.*'; expected a folder, new or that of a model\. A file has"
    ):
        bundle.save(tmp_path / name)
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    "names",
    [
        ("README.md",),
        ("config.json", "model.safetensors", "README.md"),  # as Hugging Face keeps models
        ("manifest.json", "config.json", "cnn-1.safetensors"),  # a manifest of something else
        ("sub/weights.safetensors",),
    ],
)
def test_a_folder_that_holds_other_things_is_refused_and_left_alone(bundle, tmp_path, names):
    for name in names:
        (tmp_path / "theirs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / name).write_text("mine")
    with pytest.raises(BundleError, match="an empty folder"):
        bundle.save(tmp_path / "theirs")
    found = {path.relative_to(tmp_path / "theirs") for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.as_posix() for path in found} == set(names)


def test_a_file_that_somebody_has_put_beside_a_model_is_not_lost(bundle, folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        BundleError, match=r"notes\.txt.*an empty folder, or that of a model\. Choose another"
    ):
        bundle.save(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_saving_again_leaves_nothing_of_the_earlier_model(bundle, deciding):
    assert (deciding / "novelty.safetensors").exists()
    bundle.save(deciding)
    assert not (deciding / "novelty.safetensors").exists()
    Bundle.load(deciding, device="cpu")
