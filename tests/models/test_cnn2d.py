import pytest
import torch
from pydantic import ValidationError

from earshot.models.cnn2d import Cnn2d, Cnn2dConfig, Stack2dConfig
from earshot.models.layers import Norm
from earshot.models.stack import Stack
from earshot.models.summary import n_parameters


def network(**values):
    config = Cnn2dConfig(**{"n_stem_channels": 4, "block_channels": (6, 8), **values})
    return Cnn2d(config, input_shape=(16, 40), n_classes=3)


def test_the_default_network_is_small_and_dense():
    built = Cnn2d(Cnn2dConfig(), input_shape=(64, 251), n_classes=10)
    assert 0.3e6 < sum(p.numel() for p in built.parameters()) < 1e6


def test_what_was_measured_travels_with_the_weights():
    first, second = network(), network()
    first.scaler.measure(torch.randn(20, 16, 40) * 7 - 40)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.scaler.mean, first.scaler.mean)
    assert torch.equal(second.scaler.deviation, first.scaler.deviation)


def test_a_longer_clip_of_the_same_sound_gives_almost_the_same_answer():
    built = network().eval()
    texture = torch.randn(1, 16, 1).expand(1, 16, 64)
    torch.testing.assert_close(built(texture), built(texture.repeat(1, 1, 4)), atol=0.2, rtol=0.2)


def test_the_embedding_has_a_number_a_channel_of_the_last_block():
    assert network(block_channels=(6, 8, 10)).embed(torch.randn(2, 16, 30)).shape == (2, 10)


def test_a_batch_of_one_clip_trains():
    logits = network().train()(torch.randn(1, 16, 40))
    logits.sum().backward()
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    "values",
    [
        {"block_channels": ()},
        {"block_channels": (0,)},
        {"block_channels": (10**9,)},
        {"dropout": 1},
        {"x": 1},
    ],
)
def test_values_out_of_bounds_are_refused(values):
    with pytest.raises(ValidationError):
        Cnn2dConfig(**values)


def stack(preset, shape, *, n_classes, **values):
    return Stack(Stack2dConfig(preset=preset, **values), input_shape=shape, n_classes=n_classes)


@pytest.mark.parametrize(
    ("preset", "shape", "n_classes", "n_flat", "n_published"),
    [
        ("mel", (128, 216), 10, 20_672, 666_426),
        ("mel_norm", (128, 216), 10, 20_672, 666_618),
        ("views", (128, 157), 4, 9_216, 134_020),
        ("voices", (128, 150), 2, 1_344, 81_378),
        # Smaller ones of ours, counted by hand.
        ("voices_narrow", (128, 150), 2, 672, 80 + 1_168 + 9_280 + 9_232 + 1_346),
        ("voices_shallow", (128, 150), 2, 7_616, 160 + 4_640 + 9_248 + 15_234),
    ],
)
def test_published_networks_have_the_published_size(preset, shape, n_classes, n_flat, n_published):
    # Keras counts what batch norm measures among the parameters: 4 a channel, of which 2 are learned.
    built = stack(preset, shape, n_classes=n_classes)
    n_measured = sum(2 * part.num_features for part in built.modules() if isinstance(part, Norm))
    assert n_parameters(built) + n_measured == n_published
    flat = next(i for i, part in enumerate(built.layers) if isinstance(part, torch.nn.Flatten))
    assert built.eval().layers[: flat + 1](torch.randn(1, 1, *shape)).shape == (1, n_flat)


@pytest.mark.parametrize("z", [3, 7])
def test_the_network_for_pictures_sees_colours_and_chooses_its_first_kernel(z):
    built = stack("pictures", (3, 100, 160), n_classes=10, kernel=z)
    assert built.layers[0].weight.shape == (32, 3, z, z)
    rows, columns = ((side - z + 1 - 2) // 2 - 2 for side in (100, 160))
    dense = next(part for part in built.layers if isinstance(part, torch.nn.Linear))
    assert dense.weight.shape == (128, 64 * (rows // 2) * (columns // 2))


def test_the_default_network_takes_pictures_too():
    built = Cnn2d(Cnn2dConfig(block_channels=(6,)), input_shape=(3, 20, 30), n_classes=4)
    picture = torch.randint(256, (2, 3, 20, 30), dtype=torch.uint8)
    assert built(picture).shape == (2, 4)
    assert built.blocks[0][0].in_channels == 3
