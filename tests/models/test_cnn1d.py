import pytest
import torch

from earshot.errors import ConfigError
from earshot.models.cnn1d import Stack1dConfig
from earshot.models.stack import Stack
from earshot.models.summary import n_parameters


def network(preset, shape, *, n_classes=10, **values):
    return Stack(Stack1dConfig(preset=preset, **values), input_shape=shape, n_classes=n_classes)


def ladder_parameters(z, n_flat, n_pairs):
    """Counted by hand: first convolution, its two followers, further pairs, dense 512, dense 10."""
    first = z * 32 + 32
    followers = 0 if n_pairs == 0 else (3 * 32 * 64 + 64) + (3 * 64 * 64 + 64)
    pairs = 2 * (n_pairs - 1) * (3 * 64 * 64 + 64) if n_pairs > 1 else 0
    return first + followers + pairs + n_flat * 512 + 512 + 512 * 10 + 10


@pytest.mark.parametrize("z", [3, 7, 33])
@pytest.mark.parametrize(
    ("preset", "n_pairs"), [("shallow", 0), ("medium", 1), ("deep0", 2), ("deep1", 3), ("deep2", 4)]
)
def test_the_ladder_is_that_of_the_book(preset, n_pairs, z):
    built = network(preset, (882,), kernel=z)
    steps = 882 - z + 1
    for _ in range(n_pairs):
        steps = (steps - 4) // 3
    channels, steps = (64, steps) if n_pairs else (32, steps // 3)
    assert n_parameters(built) == ladder_parameters(z, channels * steps, n_pairs)
    assert built.layers[0].kernel_size == (z,)
    assert [p.p for p in built.layers if isinstance(p, torch.nn.Dropout)] == [0.25] * max(1, n_pairs) + [0.5]


def test_along_the_frames_every_band_is_a_channel():
    built = network("mel_frames", (128, 150), n_classes=2)
    convolutions = [part for part in built.layers if isinstance(part, torch.nn.Conv1d)]
    assert [(c.in_channels, c.out_channels, *c.kernel_size) for c in convolutions] == [
        *((128, 128, 3), (128, 64, 5), (64, 32, 7))
    ]
    assert built.embed(torch.randn(2, 128, 150)).shape == (2, 32)


@pytest.mark.parametrize(
    ("preset", "n_norms", "n_drops", "n_learned"),
    [
        # By hand: 128 * 128 * 3 + 128, 128 * 64 * 5 + 64, 64 * 32 * 7 + 32, 32 * 2 + 2; norms 2 * (128 + 64 + 32).
        ("mel_frames", 3, 3, 105_186),
        ("mel_frames_no_norm", 0, 3, 104_738),
        ("mel_frames_no_drop", 3, 0, 105_186),
    ],
)
def test_dropout_and_batch_norm_can_be_left_out_along_the_frames(preset, n_norms, n_drops, n_learned):
    built = network(preset, (128, 150), n_classes=2)
    assert n_parameters(built) == n_learned
    assert sum(isinstance(part, torch.nn.BatchNorm2d) for part in built.layers) == n_norms
    assert [p.p for p in built.layers if isinstance(p, torch.nn.Dropout)] == [0.2] * n_drops


@pytest.mark.parametrize(("kernel", "stride"), [(None, None), (3, 2), (5, 2), (4, 3), (4, 1)])
def test_ten_strided_layers_end_in_ten_numbers(kernel, stride):
    built = network("strided10", (16_000,), n_classes=2, kernel=kernel, stride=stride).eval()
    assert n_parameters(built) == 10 * (kernel or 4) + 9 * 100 * (kernel or 4) + 10 * (10 + 20) + 22
    assert built.embed(torch.randn(2, 16_000)).shape == (2, 10)


def test_ten_strided_layers_leave_sixteen_steps_of_a_second():
    built = network("strided10", (16_000,), n_classes=2).eval()
    assert built.layers[:-2](torch.randn(1, 1, 16_000)).shape == (1, 10, 16)


def test_a_window_too_short_for_the_ladder_is_refused_with_a_way_out():
    with pytest.raises(ConfigError, match="Take a longer window or fewer, smaller layers"):
        network("deep2", (200,))
