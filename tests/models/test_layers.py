import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from earshot.errors import ConfigError
from earshot.models.layers import (
    ACTIVATIONS,
    FORMS,
    Conv1d,
    Dropout,
    MaxPool1d,
    Norm,
    build_layers,
    parse_layer,
)

ONE_OF_EACH = [
    *("conv 3 4 relu", "norm", "average 2", "pool 2", "tanh", "drop 0.5", "leaky", "gelu", "relu"),
    *("conv 2 3 stride 2 same", "sigmoid", "global max", "dense 5", "flatten"),
]


@pytest.mark.parametrize("shape", [(2, 40), (2, 40, 44)])
def test_shapes_are_those_that_come_out(shape):
    for n in range(1, len(ONE_OF_EACH) + 1):
        layers, wanted = build_layers(ONE_OF_EACH[:n], shape)
        assert layers.eval()(torch.randn(3, *shape)).shape == (3, *wanted), ONE_OF_EACH[n - 1]


def test_one_of_each_is_in_the_vocabulary():
    assert {layer.split()[0] for layer in ONE_OF_EACH} == FORMS.keys()


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.sampled_from(["conv", "pool"]))
def test_padding_is_that_of_tensorflow(n, size, stride, kind):
    filters = " 1" if kind == "conv" else ""
    layers, (_, n_out) = build_layers([f"{kind} {size}{filters} stride {stride} same"], (1, n))
    for module in layers:
        if isinstance(module, nn.Conv1d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    values = torch.randn(n, generator=torch.Generator().manual_seed(n))
    with torch.no_grad():
        got = layers(values[None, None])[0, 0]
    assert len(got) == n_out == math.ceil(n / stride)
    before = max((n_out - 1) * stride + size - n, 0) // 2
    for i in range(n_out):
        start = i * stride - before
        seen = values[max(0, start) : start + size]
        torch.testing.assert_close(got[i], seen.sum() if kind == "conv" else seen.max())


@pytest.mark.parametrize("n", [126, 214, 70, 7])
def test_without_same_nothing_is_padded(n):
    _, (_, n_out) = build_layers(["conv 3 1 stride 2"], (1, n))
    assert n_out == (n - 3) // 2 + 1
    assert build_layers(["pool 3"], (1, n))[1] == (1, n // 3)


def test_a_size_of_two_numbers_is_rows_by_columns():
    layers, shape = build_layers(["conv 1x7 4", "pool 2x1"], (1, 20, 30))
    assert layers[0].weight.shape == (4, 1, 1, 7)
    assert shape == (4, 10, 24)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_may_stand_alone_or_with_its_layer(name):
    alone, _ = build_layers(["dense 3", name], (4,))
    joined, _ = build_layers([f"dense 3 {name}"], (4,))
    assert [type(part) for part in alone] == [type(part) for part in joined]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "convolution 3 4",
            "conv 3",
            "conv 0 4",
            "conv 3 4 valid",
            "conv 3 4 same stride 2",
            "conv 3 4 Relu",
        ),
        *("conv -3 4", "conv 3x3x3 4", "pool", "pool 2 relu", "average 2 same", "drop 1", "drop 1.5", "drop"),
        *(
            "dense",
            "dense 1e3",
            "dense 1000000",
            "global",
            "global mean",
            "flatten 2",
            "norm 1",
            "z",
            "conv z 4",
        ),
    ],
)
def test_what_is_not_in_the_vocabulary_is_refused_with_what_is(text):
    with pytest.raises(ValueError, match=r"conv|pool|average|drop|dense|global|flatten|norm") as caught:
        parse_layer(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "shape", "place", "says"),
    [
        (["conv 3 4", "pool 9"], (1, 10), "layer 2", "at least 9 steps to work on, where 8 are left"),
        (["conv 5 4"], (1, 10, 4), "layer 1", "at least 5x5 steps to work on, where 10x4 are left"),
        (["dense 5"], (1, 10), "layer 1", "flatten or global average before it"),
        (["flatten", "conv 3 4"], (1, 10), "layer 2", "no flatten or global pool before it"),
        (["conv 3x3 4"], (1, 10), "layer 1", "one size on an input of one axis"),
        (["tanh", "what"], (1, 10), "layer 2", "a layer that begins with conv"),
    ],
)
def test_layers_that_do_not_fit_are_refused_in_one_line(layers, shape, place, says):
    with pytest.raises(ConfigError) as caught:
        build_layers(layers, shape)
    assert f"model: {place} is {layers[-1]!r}; expected {says}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)])
def test_batch_norm_of_one_value_takes_what_it_knows(shape):
    norm = Norm(3)
    norm.running_mean += 2.0
    values = torch.randn(1, *shape)
    torch.testing.assert_close(norm.train()(values), norm.eval()(values))


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 5, 4)])
def test_batch_norm_otherwise_is_torchs(shape):
    norm, wanted = Norm(3), {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}[len(shape)](3)
    values = torch.randn(6, *shape)
    torch.testing.assert_close(norm(values), wanted(values))
    torch.testing.assert_close(norm.eval()(values), wanted.eval()(values))


def with_gradients(layer, values):
    """What comes out, and the gradients of its squares by the input and by the weights."""
    values = values.clone().requires_grad_()
    out = layer(values)
    return out, *torch.autograd.grad(out.square().sum(), [values, *layer.parameters()])


@pytest.mark.parametrize("n_channels", [1, 6])
@pytest.mark.parametrize("is_channels_last", [False, True])
@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (Conv1d, nn.Conv1d),
        (lambda n, *rest: MaxPool1d((3,), (2,)), lambda n, *rest: nn.MaxPool1d(3, 2)),
        (lambda n, *rest: Norm(n), lambda n, *rest: nn.BatchNorm1d(n)),
    ],
)
def test_layers_of_one_axis_are_those_of_torch(ours, torchs, n_channels, is_channels_last):
    torch.manual_seed(0)
    layer, wanted = (
        made(n_channels, n_channels * 2, 5, 2, 1, 3, n_channels).double() for made in (ours, torchs)
    )
    wanted.load_state_dict(layer.state_dict())
    values = torch.randn(4, n_channels, 41, dtype=torch.float64)
    if is_channels_last:
        values = values.transpose(1, 2).contiguous().transpose(1, 2)
    for got, expected in zip(with_gradients(layer, values), with_gradients(wanted, values), strict=True):
        torch.testing.assert_close(got, expected)


def test_between_layers_of_one_axis_no_map_is_copied_into_another_order():
    layers, _ = build_layers(["conv 5 8 relu", "norm", "pool 2", "drop 0.5", "conv 3 6"], (1, 40))
    values = torch.randn(3, 1, 40)
    for layer in layers.train():
        values = layer(values)
        assert values.transpose(1, 2).is_contiguous(), layer


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(2, 63), (2, 33, 37)])
@pytest.mark.parametrize("is_bf16", [False, True])
def test_a_pool_before_its_activation_changes_nothing_but_the_time(activation, shape, is_bf16):
    torch.manual_seed(0)
    layers, _ = build_layers([f"conv 3 8 {activation}", "pool 4", "conv 2 3"], shape)
    values = 10 * torch.randn(16, *shape)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        in_use = with_gradients(layers.eval(), values)
        in_training = with_gradients(layers.train(), values)
    for got, expected in zip(in_training, in_use, strict=True):
        nearly = 0.01 * float(expected.detach().abs().max()) if activation == "leaky" and is_bf16 else 0.0
        torch.testing.assert_close(got, expected, atol=nearly, rtol=0)


@pytest.mark.parametrize(
    ("activation", "n_in_training"), [("relu", 8), ("leaky", 8), ("gelu", 32), ("sigmoid", 32), ("tanh", 32)]
)
def test_in_training_a_relu_sees_what_the_pool_leaves(activation, n_in_training):
    layers, _ = build_layers([f"conv 3 4 {activation}", "pool 4"], (2, 34))
    seen = []
    layers[1].register_forward_hook(lambda module, given, out: seen.append(out.shape[-1]))
    for mode in (layers.train, layers.eval):
        mode()(torch.randn(1, 2, 34))
    assert seen == [n_in_training, 32]


SHAPES = [(7, 13), (3, 5, 11), (4, 8, 9, 10)]


def dropped(rate, values, *, seed=0):
    torch.manual_seed(seed)
    return Dropout(rate).train()(values)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_dropout_drops_its_share_in_every_place_and_keeps_the_mean(rate):
    out = dropped(rate, torch.ones(400_000))
    assert out.unique().tolist() == pytest.approx([0, 1 / (1 - rate)], rel=1e-4)
    tolerance = 5 * (rate * (1 - rate) / 100_000) ** 0.5
    for place in range(4):  # of the four values that share a draw
        assert abs(float((out[place::4] == 0).float().mean()) - rate) < tolerance
    zero = (out == 0).float().view(-1, 4) - rate
    assert torch.allclose(zero.T @ zero / len(zero), rate * (1 - rate) * torch.eye(4), atol=0.005)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_dropout_leaves_order_and_layout_alone(shape, is_channels_last):
    values = torch.rand(shape) + 1
    if is_channels_last:
        is_4d = values.ndim == 4
        values = values.contiguous(memory_format=torch.channels_last) if is_4d else values.transpose(0, -1)
    out = dropped(0.5, values.requires_grad_())
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(out, values * values.grad)  # what is kept is doubled, and so is its gradient
    assert set(values.grad.unique().tolist()) == {0.0, 2.0}
    if is_channels_last and values.ndim == 4:
        assert out.stride() == values.stride()


def test_dropout_follows_the_seed():
    values = torch.rand(1000)
    assert torch.equal(dropped(0.3, values), dropped(0.3, values))
    assert not torch.equal(dropped(0.3, values), dropped(0.3, values, seed=1))


@pytest.mark.parametrize("rate", [0.0, 1e-6, 1 - 1e-6])
def test_dropout_at_the_ends_gives_finite_values(rate):
    assert torch.isfinite(dropped(rate, torch.ones(1000))).all()


def test_dropout_does_nothing_in_use_and_takes_nothing():
    values = torch.rand(5, 3)
    assert Dropout(0.5).eval()(values) is values
    assert dropped(0.5, torch.zeros(0, 3)).shape == (0, 3)
