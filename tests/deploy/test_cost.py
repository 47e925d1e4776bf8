import copy

import torch

from earshot.deploy.cost import latencies_ms, n_parameters, n_support_vectors


def test_parameters_and_support_vectors_are_counted(bundle):
    networks = [member.network for member in bundle.families["cnn"]]
    per_network = {sum(p.numel() for p in network.parameters()) for network in networks}
    assert n_parameters(bundle) == len(networks) * per_network.pop()
    machine = bundle.families["fast"][0].estimator[-1]
    assert n_support_vectors(bundle) == len(machine.support_vectors_)


def test_latencies_are_measured_on_one_thread_and_leave_the_setting_alone(bundle, monkeypatch):
    monkeypatch.setattr("earshot.deploy.cost._ROUNDS", 1)
    seen = []
    score = type(bundle).score
    monkeypatch.setattr(
        type(bundle), "score", lambda self, clips: seen.append(torch.get_num_threads()) or score(self, clips)
    )
    before = torch.get_num_threads()
    found = latencies_ms({"one": bundle, "two": bundle})
    assert set(found) == {"one", "two"}
    assert all(0 < ms < 10_000 for ms in found.values())
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_the_time_is_that_of_one_window_however_short(bundle, monkeypatch):
    seen = []
    score = type(bundle).score
    monkeypatch.setattr(
        type(bundle),
        "score",
        lambda self, clips: seen.extend(len(clip) for clip in clips) or score(self, clips),
    )
    config = bundle.config.model_copy(update={"window_samples": bundle.config.rate_hz // 10})
    short = copy.copy(bundle)
    short.config = config
    latencies_ms({"short": short})
    assert set(seen) == {config.window_samples}
