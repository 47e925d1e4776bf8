import contextlib

import torch

from earshot.training.randomness import seeded


def test_draws_follow_the_seed_inside_and_go_on_outside():
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    inside = torch.rand(2)
    torch.manual_seed(1)
    with seeded(7):
        assert torch.equal(torch.rand(2), inside)
    assert torch.equal(torch.rand(3), wanted)


def test_what_the_processor_draws_leaves_the_generators_of_gpus_alone(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    with seeded(7):
        torch.rand(2)
    assert seeds == []


def test_the_generator_of_the_gpu_in_use_is_seeded_and_put_back_and_no_other(monkeypatch):
    states, current = {0: "first", 1: "second"}, [0]

    @contextlib.contextmanager
    def device_index(index):
        current.append(index)
        yield
        current.pop()

    monkeypatch.setattr(torch.accelerator, "device_index", device_index)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_rng_state", states.get)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, index: states.update({index: state}))
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: states.update({current[-1]: seed}))
    for device, inside in (("cuda:1", ["first", 7]), ("cuda", [7, "second"])):
        with seeded(7, device=device):
            assert list(states.values()) == inside
        assert list(states.values()) == ["first", "second"]
