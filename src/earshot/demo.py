"""`earshot demo`: the whole way through on sounds that are made on the spot."""

from __future__ import annotations

from pathlib import Path

from earshot.data.clips import Clips
from earshot.data.readers import describe, read_clips
from earshot.data.synth import synthesise
from earshot.deploy.bundle import Bundle
from earshot.deploy.predict import predict_paths
from earshot.experiment import Experiment, run
from earshot.monitor import Monitor
from earshot.recipe import load_recipe

_N_CLIPS, _N_RECORDINGS = 40, 5
_HELD_OUT_RECORDING = 5
_SHOWN_CLASSES = ("birds", "dog", "siren")
_CHANGES = ("epochs=20", "rate_hz=22050", "cnn.features.hop_length=441", "window_s=3.0", "n_folds=4")


def run_demo(folder: Path, *, device: str, monitor: Monitor, command: str) -> list[tuple[str, str, float]]:
    """Synthesises a corpus, trains on four recordings of each class, and predicts three sounds of the fifth.

    Returns:
        (true class, predicted class, its probability) of the three held-out files.
    """
    corpus = synthesise(
        folder / "corpus",
        n_per_class=_N_CLIPS,
        n_recordings=_N_RECORDINGS,
        progress=lambda done, total: monitor.progress("making sounds", done, total),
    )
    clips = _held_out_marked(read_clips(corpus))
    monitor.say(describe(clips))
    run(
        Experiment(
            clips=clips,
            recipe=load_recipe("default", _CHANGES),
            folder=folder / "run",
            device=device,
            command=command,
            title="earshot demo",
            monitor=monitor,
        )
    )
    guesses = _predict_three(folder / "run" / "model", clips)
    monitor.say(f"\n{'held-out file':<32}{'is':<14}{'sounds like':<14}probability")
    for path, truth, said, p in guesses:
        monitor.say(f"{path:<32}{truth:<14}{said:<14}{p:.3f}")
    monitor.say(f"\nreport: {folder / 'run' / 'report.html'}\nmodel:  {folder / 'run' / 'model'}")
    return [(truth, said, p) for _, truth, said, p in guesses]


def _held_out_marked(clips: Clips) -> Clips:
    """The last recording of each class becomes the test split; the rest is cross-validated."""
    held_out = clips.table["fold"] == _HELD_OUT_RECORDING
    return clips.assign(
        split=["test" if held else "train" for held in held_out],
        notes=[f"recording {_HELD_OUT_RECORDING} of each class is held out for the test"],
    )


def _predict_three(model: Path, clips: Clips) -> list[tuple[str, str, str, float]]:
    """What the saved model says to one held-out file of three classes."""
    table = clips.table[clips.table["split"] == "test"]
    chosen = [table[table["label"] == name].iloc[0] for name in _SHOWN_CLASSES]
    bundle = Bundle.load(model)
    _, scored = predict_paths(bundle, [row["path"] for row in chosen])
    guesses = []
    for row, (_, probs) in zip(chosen, scored, strict=True):
        assert probs is not None, "the demo's own sounds can be read"
        best = int(probs.argmax())
        guesses.append((row["id"], row["label"], bundle.classes[best], float(probs[best])))
    return guesses
