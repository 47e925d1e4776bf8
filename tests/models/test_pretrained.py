"""Every test works on tiny random backbones saved in a temporary folder, with the network shut."""

import json
import shutil
import socket
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch.nn import functional

from earshot.errors import ConfigError
from earshot.models.backbones import AstConfig, ResNetConfig, Wav2Vec2Config, pretrained_digest
from earshot.models.classical import KnnConfig
from earshot.models.pretrained import (
    PretrainedAst,
    PretrainedResNet,
    PretrainedWav2Vec2,
    moved_positions,
    parameter_counts,
)

transformers = pytest.importorskip("transformers")

N_CLASSES = 3
LAYERS = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 16}
TINY = {
    "resnet": (
        "resnet",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    ),
    "ast": (
        "audio-spectrogram-transformer",
        LAYERS
        | {"patch_size": 4, "frequency_stride": 2, "time_stride": 3, "num_mel_bins": 16, "max_length": 40},
    ),
    "wav2vec2": (
        "wav2vec2",
        LAYERS
        | {"conv_dim": [8, 8], "conv_kernel": [10, 4], "conv_stride": [5, 2]}
        | {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2},
    ),
}
KINDS = {
    "resnet": (ResNetConfig, PretrainedResNet),
    "ast": (AstConfig, PretrainedAst),
    "wav2vec2": (Wav2Vec2Config, PretrainedWav2Vec2),
}
INPUTS = {"resnet": (16, 40), "ast": (16, 40), "wav2vec2": (400,)}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    attempts = []

    def refuse(*where):
        attempts.append(where)
        raise OSError("no network in tests")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield attempts
    assert not attempts


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of tiny backbones with every number drawn, batch norm statistics and biases included."""
    folders = {}
    rng = torch.Generator().manual_seed(0)
    for kind, (model_type, values) in TINY.items():
        backbone = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(model_type, **values))
        for tensor in backbone.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=rng) * 0.4 + 0.05)
        folders[kind] = tmp_path_factory.mktemp(kind)
        backbone.save_pretrained(folders[kind])
    return folders


def stored(folder):
    return load_file(folder / "model.safetensors")


def altered(folder, into, **changes):
    """A folder with the same weights and a changed configuration."""
    about = json.loads((folder / "config.json").read_text())
    (into / "config.json").write_text(json.dumps(about | changes))
    (into / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    return into


def built(kind, folder, *, input_shape=None, **values):
    config_type, network_type = KINDS[kind]
    config = config_type(weights=str(folder), **values).resolved()
    network = network_type(config, input_shape=input_shape or INPUTS[kind], n_classes=N_CLASSES)
    network.load_pretrained()
    return network


def features(kind, n=4, shape=None):
    return torch.randn((n, *(shape or INPUTS[kind])), generator=torch.Generator().manual_seed(1))


def after_one_step(network, inputs):
    """Names of the tensors of the state that one training step changes."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, fused=True)
    loss = functional.cross_entropy(network.train()(inputs), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    optimizer.step()
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


@every_kind
def test_the_backbone_gets_the_saved_weights(kind, saved):
    own = transformers.AutoModel.from_pretrained(saved[kind], local_files_only=True).state_dict()
    written = sorted(float(tensor.double().sum()) for tensor in stored(saved[kind]).values())
    got = built(kind, saved[kind]).backbone.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in got.items())
    unused = [float(tensor.double().sum()) for name, tensor in own.items() if name not in got]
    # By their sums, for the file of AST has other names in it than the network.
    assert sorted([float(tensor.double().sum()) for tensor in got.values()] + unused) == written


@every_kind
def test_the_embedding_is_that_of_the_library_and_the_head_is_new(kind, saved):
    network = built(kind, saved[kind]).eval()
    inputs = features(kind)
    scaled = network.scaler(inputs)
    own = transformers.AutoModel.from_pretrained(saved[kind], local_files_only=True).eval()
    if kind == "resnet":
        wanted = own(torch.stack([scaled] * 3, dim=1)).pooler_output[:, :, 0, 0]
    elif kind == "ast":
        wanted = own(scaled.transpose(1, 2) / 2).pooler_output
    else:
        wanted = own(scaled).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(network.embed(inputs), wanted)
    assert network(inputs).shape == (4, N_CLASSES)
    assert network.head.in_features == wanted.shape[1]


@every_kind
def test_a_step_of_a_frozen_network_changes_its_head_alone(kind, saved):
    assert after_one_step(built(kind, saved[kind]), features(kind)) == {"head.weight", "head.bias"}


@every_kind
def test_a_step_of_a_fine_tuned_network_changes_the_whole_backbone(kind, saved):
    network = built(kind, saved[kind], freeze=False, dropout=0.0)
    changed = after_one_step(network, features(kind))
    # A shift of all keys alike leaves attention as it was: that bias has no gradient but rounding.
    wanted = {name for name, _ in network.named_parameters() if "k_proj.bias" not in name}
    assert wanted <= changed


def test_frozen_batch_norm_statistics_stay_and_free_ones_move(saved):
    means = {}
    for freeze in (True, False):
        network = built("resnet", saved["resnet"], freeze=freeze).train()
        network(features("resnet"))
        means[freeze] = network.backbone.embedder.embedder.normalization.running_mean
    wanted = stored(saved["resnet"])["embedder.embedder.normalization.running_mean"]
    assert [torch.equal(means[freeze], wanted) for freeze in (True, False)] == [True, False]


@every_kind
def test_only_a_free_backbone_drops_out_in_training(kind, saved):
    frozen = built(kind, saved[kind], dropout=0.0).train()
    assert torch.equal(frozen(features(kind)), frozen(features(kind)))
    assert not any(module.training for module in frozen.backbone.modules())
    assert all(module.training for module in built(kind, saved[kind], freeze=False).train().modules())


@every_kind
def test_training_draws_nothing_from_the_global_generator_of_numpy(kind, saved):
    before = np.random.get_state()[1:3]  # noqa: NPY002
    after_one_step(built(kind, saved[kind], freeze=False), features(kind))
    keys, position = np.random.get_state()[1:3]  # noqa: NPY002
    assert position == before[1]
    assert np.array_equal(keys, before[0])


@every_kind
def test_a_saved_network_is_rebuilt_without_the_folder(kind, saved):
    network = built(kind, saved[kind]).eval()
    if kind != "wav2vec2":
        network.scaler.measure(features(kind, 20) * 7 - 40)
    config_type, network_type = KINDS[kind]
    written = network.config.model_copy(update={"weights": "gone/gone"}).model_dump_json()
    config = config_type.model_validate_json(written).resolved()
    with torch.device("meta"):
        shapes = network_type(config, input_shape=INPUTS[kind], n_classes=N_CLASSES).state_dict()
    assert {k: (v.shape, v.dtype) for k, v in shapes.items()} == {
        k: (v.shape, v.dtype) for k, v in network.state_dict().items()
    }
    other = network_type(config, input_shape=INPUTS[kind], n_classes=N_CLASSES).eval()
    assert not torch.equal(other(features(kind)), network(features(kind)))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(features(kind)), network(features(kind)))


@every_kind
def test_the_defaults_of_an_architecture_are_those_of_the_library(kind):
    shape = KINDS[kind][0].shape_type()
    theirs = transformers.AutoConfig.for_model(shape.model_type).to_dict()
    ours = json.loads(json.dumps(asdict(shape)))
    assert ours == {name: json.loads(json.dumps(theirs[name])) for name in ours}


def test_pictures_are_scaled_by_the_colours_of_imagenet(saved):
    network = built("resnet", saved["resnet"], input_shape=(3, 20, 30)).eval()
    pictures = torch.randint(0, 256, (2, 3, 20, 30), generator=torch.Generator().manual_seed(2))
    pictures = pictures.to(torch.uint8)
    before = network(pictures)
    network.scaler.measure(pictures)
    assert torch.equal(network(pictures), before)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    own = transformers.AutoModel.from_pretrained(saved["resnet"], local_files_only=True).eval()
    wanted = own((pictures / 255 - mean) / deviation).pooler_output.flatten(1)
    torch.testing.assert_close(network.embed(pictures), wanted)


def test_ast_sees_a_deviation_of_one_half(saved):
    network = built("ast", saved["ast"]).eval()
    levels = features("ast", 50) * 12 - 40
    network.scaler.measure(levels)
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(levels)
    assert seen[0].shape == (50, 40, 16)
    assert abs(float(seen[0].mean())) < 1e-4
    assert abs(float(seen[0].std()) - 0.5) < 1e-3


def test_ast_takes_pictures_of_another_size_with_moved_positions(saved):
    network = built("ast", saved["ast"], input_shape=(24, 31)).eval()
    assert network(features("ast", shape=(24, 31))).shape == (4, N_CLASSES)
    table = stored(saved["ast"])["embeddings.position_embeddings"]
    assert table.shape[1] == 2 + 7 * 13
    got = network.backbone.embeddings.position_embeddings
    assert torch.equal(got, moved_positions(table, (7, 13), (11, 10)))


def test_moved_positions_keep_tokens_and_follow_a_slope():
    row, column = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    table = torch.cat([torch.tensor([[50.0, 60.0]]), (10 * row + column).reshape(1, -1)], dim=1)[..., None]
    moved = moved_positions(table, (4, 6), (8, 12))[0, :, 0]
    assert moved[:2].tolist() == [50.0, 60.0]
    # A new centre i lies at (i + 0.5) / 2 - 0.5 between the old ones; outside of them the edge is held.
    rows, columns = (((torch.arange(n) + 0.5) / 2 - 0.5).clamp(0, n // 2 - 1) for n in (8, 12))
    torch.testing.assert_close(moved[2:].view(8, 12), 10 * rows[:, None] + columns)
    assert torch.equal(moved_positions(table, (4, 6), (4, 6)), table)


@pytest.mark.parametrize(("kind", "input_shape"), [("ast", (3, 40)), ("ast", (16, 3)), ("wav2vec2", (24,))])
def test_inputs_smaller_than_one_step_are_refused_with_the_least_that_works(kind, input_shape, saved):
    with pytest.raises(ConfigError, match="at least"):
        built(kind, saved[kind], input_shape=input_shape)


@pytest.mark.parametrize(("kind", "input_shape"), [("ast", (4, 4)), ("wav2vec2", (25,)), ("resnet", (1, 1))])
def test_the_least_input_works(kind, input_shape, saved):
    logits = built(kind, saved[kind], input_shape=input_shape).eval()(features(kind, shape=input_shape))
    assert torch.isfinite(logits).all()


def test_more_steps_than_attention_can_hold_are_refused(saved):
    with pytest.raises(ConfigError, match="4096 steps"):
        built("wav2vec2", saved["wav2vec2"], input_shape=(10**6,))


def test_old_names_of_weights_are_understood(saved, tmp_path):
    tensors = stored(saved["wav2vec2"])
    old = {f"wav2vec2.{name}": tensor for name, tensor in tensors.items()}
    conv = "wav2vec2.encoder.pos_conv_embed.conv."
    for new, short in (("original0", "weight_g"), ("original1", "weight_v")):
        old[conv + short] = old.pop(f"{conv}parametrizations.weight.{new}")
    altered(saved["wav2vec2"], tmp_path)
    save_file(old | {"lm_head.weight": torch.zeros(5, 12)}, tmp_path / "model.safetensors")
    got = built("wav2vec2", tmp_path).backbone.state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in tensors.items() if name in got)


def refusal(call):
    """The one line with which something is refused."""
    with pytest.raises(ConfigError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_refused_and_a_path_is_no_hub_name(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    for weights in (str(tmp_path / "gone"), "gone", "models/resnet"):
        assert "no such folder" in refusal(ResNetConfig(weights=weights).resolved)


def test_a_hub_name_while_offline_says_what_to_do():
    assert "go online once, or give a folder" in refusal(ResNetConfig(weights="nobody/nothing").resolved)


def test_a_hub_that_does_not_answer_is_told_in_one_line(monkeypatch, no_network):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    assert "could not be fetched" in refusal(ResNetConfig(weights="nobody/nothing").resolved)
    assert no_network
    no_network.clear()


def test_pickled_weights_are_refused(saved, tmp_path):
    altered(saved["resnet"], tmp_path)
    torch.save(stored(tmp_path), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert "can run code" in refusal(lambda: built("resnet", tmp_path))


def test_weights_of_other_sizes_are_refused(saved, tmp_path):
    altered(saved["resnet"], tmp_path, hidden_sizes=[8, 32])
    assert "weights" in refusal(lambda: built("resnet", tmp_path))


def test_missing_weights_are_refused(saved, tmp_path):
    tensors = stored(altered(saved["ast"], tmp_path))
    del tensors["layernorm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    assert "layernorm.weight" in refusal(lambda: built("ast", tmp_path))


def test_a_damaged_file_is_refused(saved, tmp_path):
    (altered(saved["ast"], tmp_path) / "model.safetensors").write_bytes(b"\x08" + bytes(20))
    assert "weights" in refusal(lambda: built("ast", tmp_path))


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"model_type": "gpt2"}', '{"model_type": "resnet", "depths": []}']
)
def test_a_config_of_something_else_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    assert "config.json" in refusal(ResNetConfig(weights=str(tmp_path)).resolved)


def test_an_architecture_that_does_not_fit_together_is_refused(saved, tmp_path):
    altered(saved["wav2vec2"], tmp_path, num_attention_heads=5)
    assert "fit together" in refusal(lambda: built("wav2vec2", tmp_path))


def test_code_that_a_config_names_is_dropped(saved, tmp_path):
    harmful = {"auto_map": {"AutoModel": "evil.Evil"}, "attn_implementation": "evil/kernel"}
    altered(saved["ast"], tmp_path, **harmful)
    assert "evil" not in AstConfig(weights=str(tmp_path)).resolved().model_dump_json()


@pytest.mark.parametrize(
    "backbone", [{"auto_map": {"AutoModel": "evil.Evil"}}, {"hidden_size": 10**6}, {"hidden_act": "evil"}]
)
def test_a_model_folder_cannot_ask_for_more_than_an_architecture(backbone):
    with pytest.raises(ValidationError):
        AstConfig(backbone=backbone)


def test_a_network_is_not_built_before_its_architecture_is_known(saved):
    config = ResNetConfig(weights=str(saved["resnet"]))
    assert "resolved" in refusal(lambda: PretrainedResNet(config, input_shape=(16, 40), n_classes=3))


def test_a_missing_library_names_the_extra(saved, monkeypatch):
    config = ResNetConfig(weights=str(saved["resnet"])).resolved()
    monkeypatch.setitem(sys.modules, "transformers", None)
    message = refusal(lambda: PretrainedResNet(config, input_shape=(16, 40), n_classes=3))
    assert "pip install transformers" in message


def test_loading_prints_nothing_and_leaves_the_library_as_it_was(saved, capfd):
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    built("resnet", saved["resnet"])
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_frozen_and_trainable_parameters_are_counted(saved):
    own = transformers.AutoModel.from_pretrained(saved["resnet"], local_files_only=True)
    n_backbone = sum(parameter.numel() for parameter in own.parameters())
    n_head = (16 + 1) * N_CLASSES
    assert parameter_counts(built("resnet", saved["resnet"])) == (n_head, n_backbone)
    assert parameter_counts(built("resnet", saved["resnet"], freeze=False)) == (n_head + n_backbone, 0)


def test_other_weights_in_the_same_folder_are_another_start(saved, tmp_path):
    folder = tmp_path / "weights"
    shutil.copytree(saved["resnet"], folder)
    config = ResNetConfig(weights=str(folder))
    first = pretrained_digest(config)
    assert pretrained_digest(ResNetConfig(weights=str(saved["resnet"]))) == first  # it is not the name
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert pretrained_digest(config) != first
    assert pretrained_digest(KnnConfig()) == ""
