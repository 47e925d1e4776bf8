import pytest
import torch

from earshot.audio.spectrogram_changes import mask_bands, random_resize, translate_in_time


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_resize_keeps_the_shape_and_the_range_of_values():
    spectrograms = torch.randn(20, 16, 50) * 10 - 40
    resized = random_resize(spectrograms, time=0.5, frequency=0.3, rng=rng())
    assert resized.shape == spectrograms.shape
    assert resized.min() >= spectrograms.min()
    assert resized.max() <= spectrograms.max()


def test_a_resize_agrees_with_grid_sampling():
    """The oracle is `torch.nn.functional.grid_sample` with the same random numbers."""
    spectrograms = torch.randn(9, 16, 50)
    resized = random_resize(spectrograms, time=0.4, frequency=0.2, rng=rng(5))
    draws = rng(5)
    along_time = 1 / (1 + (torch.rand(9, generator=draws) * 0.8 - 0.4))
    along_bands = 1 / (1 + (torch.rand(9, generator=draws) * 0.4 - 0.2))
    theta = torch.zeros(9, 2, 3)
    theta[:, 0, 0] = along_time
    theta[:, 1, 1] = along_bands
    theta[:, 1, 2] = along_bands - 1
    grid = torch.nn.functional.affine_grid(theta, [9, 1, 16, 50], align_corners=False)
    expected = torch.nn.functional.grid_sample(
        spectrograms[:, None], grid, align_corners=False, padding_mode="reflection"
    )[:, 0]
    torch.testing.assert_close(resized, expected, atol=2e-4, rtol=0)


def test_a_resize_stretches_time_about_the_centre():
    ramp = torch.arange(51.0).repeat(30, 4, 1)
    resized = random_resize(ramp, time=0.3, frequency=0.0, rng=rng())
    torch.testing.assert_close(resized[:, :, 25], torch.full((30, 4), 25.0), atol=1e-3, rtol=0)
    slopes = (resized[:, 0, 30] - resized[:, 0, 20]) / 10
    assert slopes.min() > 1 / 1.31
    assert slopes.max() < 1 / 0.69
    assert slopes.std() > 0.05


@pytest.mark.parametrize("dim", [1, 2])
def test_masks_hide_whole_bands_or_frames_behind_the_mean(dim):
    spectrograms = torch.randn(50, 20, 40)
    masked = mask_bands(spectrograms, dim=dim, n_masks=2, max_share=0.2, rng=rng())
    hidden = masked != spectrograms
    across = 3 - dim
    assert torch.equal(hidden.all(dim=across), hidden.any(dim=across))
    shares = hidden.float().mean(dim=(1, 2))
    assert shares.max() <= 2 * 0.2 + 2 / spectrograms.shape[dim]
    assert shares.mean() > 0.1
    mean = spectrograms.mean(dim=(1, 2), keepdim=True).expand_as(masked)
    assert torch.equal(masked[hidden], mean[hidden])


def test_a_translation_moves_frames_either_way_and_fills_with_the_floor():
    spectrograms = torch.rand(200, 4, 50) * 60 - 60
    moved = translate_in_time(spectrograms, max_share=0.2, fill_db=-80.0, rng=rng())
    steps = []
    for row, other in zip(spectrograms, moved, strict=True):
        vacated = (other == -80.0).all(dim=0)
        n = int(vacated.sum())
        steps.append(n if vacated[0] else -n)
        kept = other[:, ~vacated]
        assert torch.equal(kept, row[:, : 50 - n] if vacated[0] else row[:, n:])
    assert max(steps) == 10
    assert min(steps) == -10
    assert len(set(steps)) > 15
