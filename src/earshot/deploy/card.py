"""The model card: what a model is, how good it is and what it must not be used for, in a README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earshot.deploy.bundle import BundleConfig


def model_card(config: BundleConfig, metrics: Mapping[str, Any], *, title: str) -> str:
    """Markdown of the model folder's README.md."""
    low, high = metrics["accuracy_ci95"]
    window_s = config.window_samples / config.rate_hz
    families = ", ".join(
        f"{len(m.files)} x {name} (weight {m.weight:.2f})" for name, m in config.members.items()
    )
    rows = "\n".join(
        f"| {_cell(row['label'])} | {row['n']} | {_percent(row['precision'])} | {_percent(row['recall'])} |"
        for row in metrics["per_class"]
    )
    return f"""# {_cell(title)}: a sound classifier made with earshot {config.earshot_version}

Out-of-fold accuracy {_percent(metrics["accuracy"])} (95 % interval {_percent(low)} to {_percent(high)}) on
{metrics["n_clips"]} clips from {metrics["n_groups"]} recordings; balanced accuracy
{_percent(metrics["balanced_accuracy"])}. {metrics["protocol"]}.

| class | clips | precision | recall |
|---|---|---|---|
{rows}

## How it hears

Mono (mean of channels), {config.rate_hz} Hz, 16 bit; windows of {window_s:.2f} s every
{config.hop_samples / config.rate_hz:.2f} s, shorter clips repeated; the clip's score: {config.clip_score}.
{_gate(config)}Members: {families}. Every value is in `config.json`.

## How to use it

    earshot predict THIS_FOLDER recordings/ -o predictions.csv

## How sure it is

{_sureness(metrics)}

## Limits

{_limits(config)} Its scores hold for sounds recorded like those it learned from; measure it on your own with
`earshot evaluate`.
"""


def _gate(config: BundleConfig) -> str:
    """Which windows it leaves out."""
    if config.gate.is_open:
        return ""
    limits = []
    if config.gate_db is not None:
        limits.append(f"{config.gate_db:g} dB below the loudest of their clip")
    if config.gate_dbfs is not None:
        limits.append(f"{config.gate_dbfs:g} dB of full scale")
    return f"Windows quieter than {' or '.join(limits)} are skipped; a clip keeps its loudest.\n"


def _sureness(metrics: Mapping[str, Any]) -> str:
    """What was measured out of fold of probabilities and sets."""
    text = f"Log loss {metrics['log_loss']:.3f}, calibration error {_percent(metrics['ece'])}"
    calibration = metrics.get("calibration") or {}
    method = calibration.get("method", "none")
    in_folds = sorted(set(calibration.get("fold_methods") or [method]))
    if in_folds != ["none"]:
        text += f", after calibration ({' or '.join(in_folds)}, as the other folds chose)"
    text += "." if [method] == in_folds else f". The model that is saved has calibration: {method}."
    if sets := metrics.get("sets"):
        text += (
            f" Sets (`earshot predict --sets`) that are to hold the true class {_percent(1 - sets['miss_rate'])} "
            f"of the time held it {_percent(sets['coverage'])}, with {sets['mean_size']:.1f} classes on average."
        )
    return text


def _limits(config: BundleConfig) -> str:
    alone = "It knows only the classes above and gives one of them to any sound"
    novelty = config.decisions.novelty
    if novelty is None:
        return f"{alone}."
    return (
        f"{alone}, unless asked not to: `earshot predict --reject` leaves out sounds unlike those of every class, "
        f"and with them about {_percent(1 - novelty.kept)} of known ones."
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _cell(text: str) -> str:
    """Text that stays text in Markdown: no column, tag, link or picture comes of a class name."""
    for mark in "|[]`":
        text = text.replace(mark, "\\" + mark)
    return text.replace("<", "&lt;").replace("\n", " ")
