import io
import json
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.torch
import skops.io
import torch
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.svm import SVC

from earshot.deploy.weights import read_member, write_weights
from earshot.errors import BundleError
from earshot.models.classical import ForestConfig, SvmConfig, build_svm
from earshot.models.cnn2d import Cnn2dConfig
from earshot.training.members import MemberConfig
from earshot.training.tuning import fit_estimator

from .conftest import NETWORK, RATE_HZ, SVM, network_member, svm_member


def read(path, config=NETWORK, **values):
    settings = {
        "rate_hz": RATE_HZ,
        "window_samples": 2_000,
        "n_classes": 3,
        "multilabel": False,
        "device": "cpu",
    } | values
    return read_member(path, config, **settings)


def refusal(path, config=NETWORK, **values):
    with pytest.raises(BundleError) as caught:
        read(path, config, **values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def safetensors_with(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def network_file(tmp_path):
    write_weights(tmp_path / "a.safetensors", network_member())
    return tmp_path / "a.safetensors"


@pytest.fixture
def svm_file(tmp_path):
    write_weights(tmp_path / "a.skops", svm_member())
    return tmp_path / "a.skops"


def test_a_network_comes_back_bit_by_bit(network_file):
    network = read(network_file).network
    for name, value in network_member().network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_an_svm_comes_back_with_the_same_probabilities(svm_file):
    rows = torch.randn(5, *SVM.features.output_shape(2_000, rate_hz=RATE_HZ))
    member = read(svm_file, SVM, temperature=0.7)
    np.testing.assert_array_equal(member.predict_features(rows), svm_member().predict_features(rows))


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 7) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100_000_001) + b"{}" * 50,
        b"",
        b"\x80\x04\x95",
        safetensors_with({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        safetensors_with({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_with({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_with({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(9)),
        safetensors_with({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
        safetensors_with(
            {k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "ab"},
            bytes(4),
        ),
        b"\xff" * 4_096,
    ],
)
def test_absurd_safetensors_are_refused_at_once_and_without_memory(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    started = time.process_time()
    refusal(path)
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(network_file, bad):
    tensors = safetensors.torch.load_file(network_file)
    tensors["head.weight"][0, 0] = bad
    safetensors.torch.save_file(tensors, network_file)
    assert "head.weight is 'not finite'" in refusal(network_file)


def test_other_tensors_than_the_configured_networks_are_refused(network_file):
    tensors = safetensors.torch.load_file(network_file)
    for name, change in {
        "head.bias": None,
        "extra": torch.zeros(1),
        "head.weight": torch.zeros(3, 9),
        "blocks.0.0.weight": tensors["blocks.0.0.weight"].double(),
    }.items():
        changed = {k: v for k, v in {**tensors, name: change}.items() if v is not None}
        safetensors.torch.save_file(changed, network_file)
        assert name in refusal(network_file)


def test_a_configuration_of_a_huge_network_is_refused_before_memory_is_taken(network_file, monkeypatch):
    huge = Cnn2dConfig(n_stem_channels=4096, block_channels=(4096,) * 16)
    config = NETWORK.model_copy(update={"model": huge})
    started = time.process_time()
    refusal(network_file, config)
    assert time.process_time() - started < 1


def test_a_network_for_other_classes_is_refused(network_file):
    assert "head.bias is (3,); expected (4,)" in refusal(network_file, n_classes=4)


def test_an_svm_for_other_features_is_refused(svm_file):
    features = SVM.features.model_copy(update={"n_modulation_rates": 5})
    assert "number of features" in refusal(svm_file, SVM.model_copy(update={"features": features}))


def test_a_scikit_learn_object_that_is_no_classifier_is_refused(tmp_path):
    path = tmp_path / "a.skops"
    skops.io.dump({"a": LogisticRegression()}, path)
    refusal(path, SVM)


def test_a_type_that_could_run_code_is_refused_and_does_not_run(tmp_path):
    path = tmp_path / "a.skops"
    canary = tmp_path / "canary"
    skops.io.dump(FunctionTransformer(canary.mkdir), path)
    refusal(path, SVM)
    assert not canary.exists()


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_types_that_no_model_here_needs_are_refused(tmp_path, algorithm):
    estimator = KNeighborsClassifier(2, algorithm=algorithm)
    rows = np.random.default_rng(0).normal(size=(20, 4))
    path = tmp_path / "a.skops"
    skops.io.dump(make_pipeline(estimator).fit(rows, np.arange(20) % 3), path)
    assert "scikit-learn types only" in refusal(path, SVM)


def test_another_model_than_the_configured_one_is_refused(tmp_path):
    for i, strange in enumerate(
        [
            make_pipeline(LogisticRegression()),
            make_pipeline(Normalizer(), SVC()),
            make_pipeline(GradientBoostingClassifier(n_estimators=2)),
            LogisticRegression(),
        ]
    ):
        n_features = SVM.features.output_shape(2_000, rate_hz=RATE_HZ)[0]
        rows = np.random.default_rng(0).normal(size=(12, n_features))
        skops.io.dump(strange.fit(rows, np.arange(12) % 3), tmp_path / f"{i}.skops")
        assert "the parts of the configured model" in refusal(tmp_path / f"{i}.skops", SVM)


def test_a_model_of_one_label_a_clip_is_no_model_of_several(svm_file):
    assert "the parts of the configured model" in refusal(svm_file, SVM, multilabel=True)


def rewrite_nodes(path, field, value):
    """Changes the root of the first tree in a skops file."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, content in files.items():
        nodes = np.load(io.BytesIO(content)) if name.endswith(".npy") else np.zeros(0)
        if nodes.dtype.names:
            nodes[field][0] = value
            packed = io.BytesIO()
            np.save(packed, nodes)
            files[name] = packed.getvalue()
            break
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10**9), ("right_child", -7), ("left_child", 0), ("feature", 10**6), ("feature", -2)],
)
def test_a_tree_that_leads_astray_is_refused_before_it_is_walked(tmp_path, field, value):
    config = MemberConfig(features=SVM.features, model=ForestConfig(n_trees=2))
    shape = config.features.output_shape(2_000, rate_hz=RATE_HZ)
    rows = np.random.default_rng(0).normal(size=(30, *shape)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    estimator = fit_estimator(config.model, rows, targets, multilabel=False)
    path = tmp_path / "a.skops"
    skops.io.dump(estimator, path)
    assert read(path, config).predict_features(torch.from_numpy(rows)).shape == (30, 3)
    rewrite_nodes(path, field, value)
    assert "tree is 'damaged'" in refusal(path, config)


def test_a_damaged_skops_file_is_refused(svm_file):
    whole = svm_file.read_bytes()
    for content in (b"", b"PK\x03\x04", whole[: len(whole) // 2], b"\x80\x04\x95" + bytes(50)):
        svm_file.write_bytes(content)
        refusal(svm_file, SVM)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "a.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 20_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    assert "unpacked size is 20000000" in refusal(path, SVM)


def test_a_skops_schema_with_another_content_is_refused(tmp_path):
    for schema in (
        "[]",
        "{}",
        "null",
        '{"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}',
    ):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("schema.json", schema)
        (tmp_path / "a.skops").write_bytes(packed.getvalue())
        refusal(tmp_path / "a.skops", SVM)


def test_only_members_have_a_format(tmp_path):
    with pytest.raises(TypeError, match="no weights format for int"):
        write_weights(tmp_path / "a", 3)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("_dual_coef_", lambda values: values[:, :3].copy()),
        ("_intercept_", lambda values: values[:0]),
        ("_n_support", lambda values: values + 10**6),
        ("support_vectors_", lambda values: np.full_like(values, np.nan)),
        ("support_", lambda values: values[:-1]),
    ],
)
def test_a_support_vector_machine_that_promises_more_than_it_has_is_refused(svm_file, name, change):
    pipeline = skops.io.load(svm_file)
    setattr(pipeline[-1], name, change(getattr(pipeline[-1], name)))
    skops.io.dump(pipeline, svm_file)
    assert name in refusal(svm_file, SVM)


def test_a_model_of_several_labels_that_was_never_fitted_is_refused(tmp_path):
    rows = np.random.default_rng(0).normal(size=(12, 224)).astype(np.float32)
    machine = OneVsRestClassifier(build_svm(SvmConfig(), input_shape=(224,), n_classes=2))
    machine.fit(rows, np.arange(24).reshape(12, 2) % 3 == 0)
    del machine.estimators_
    skops.io.dump(machine, tmp_path / "1.skops")
    assert "the parts of the configured model" in refusal(tmp_path / "1.skops", SVM, multilabel=True)
