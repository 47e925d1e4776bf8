import pytest
import torch
from torch import nn

from earshot.models import MODELS
from earshot.models.classical import SvmConfig
from earshot.models.cnn1d import Stack1dConfig
from earshot.models.cnn2d import Cnn2dConfig, Stack2dConfig
from earshot.models.rnn import LstmConfig
from earshot.models.summary import n_parameters, summarise


def summary_of(config, shape, *, n_classes=4):
    model = MODELS[config.kind](config, input_shape=shape, n_classes=n_classes)
    return model, summarise(model, input_shape=shape)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (Stack2dConfig(preset="views"), (128, 157)),
        (Stack1dConfig(preset="deep1"), (882,)),
        (Cnn2dConfig(), (3, 40, 60)),
        (LstmConfig(), (64, 50)),
    ],
)
def test_a_network_is_shown_layer_by_layer(config, shape):
    model, text = summary_of(config, shape)
    assert f"Total params: {n_parameters(model):,}" in text
    for module in model.modules():
        if not list(module.children()):
            assert type(module).__name__ in text
    assert "[1, 4]" in text


def test_shapes_parameters_and_multiply_adds_stand_in_a_row():
    _, text = summary_of(Stack2dConfig(preset="views"), (128, 157))
    row = next(line for line in text.splitlines() if "Conv2d (0)" in line)
    assert "[1, 16, 128, 157]" in row
    assert f"{16 * 9 + 16:,}" in row
    assert f"{128 * 157 * (16 * 9 + 16):,}" in row
    assert "Units." not in text


def test_looking_leaves_a_network_as_it_was():
    model = MODELS["cnn2d"](Cnn2dConfig(block_channels=(6,)), input_shape=(16, 20), n_classes=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    summarise(model, input_shape=(16, 20))
    assert torch.equal(torch.rand(3), wanted)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_classical_model_shows_its_settings():
    _, text = summary_of(SvmConfig(c=3.5), (40,))
    scaler, machine = text.splitlines()
    assert scaler.startswith("StandardScaler: ")
    assert machine.startswith("SVC: C=3.5, ")


def test_what_batch_norm_measures_is_not_counted():
    network = nn.Sequential(nn.Conv1d(2, 8, 3), nn.BatchNorm1d(8))
    assert n_parameters(network) == 2 * 8 * 3 + 8 + 16
