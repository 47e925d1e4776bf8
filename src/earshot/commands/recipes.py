"""The command that shows what a recipe would train."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from earshot.commands.app import app
from earshot.errors import ConfigError, complaint


@app.command
def summary(
    recipe: str = "default",
    *,
    change: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    n_classes: int = 10,
    window_s: float = 5.0,
) -> None:
    """Show a recipe's models layer by layer: shapes, parameters, multiply-adds.

    Args:
        recipe: Name of a recipe, or a TOML file; default without it.
        change: Change a value of the recipe, for instance --set n_mels=96; may be repeated.
        n_classes: Classes to tell apart; 10 without it.
        window_s: Window in seconds where the recipe leaves it to the data; 5 without it.
    """
    from earshot.models import MODELS
    from earshot.models.summary import summarise
    from earshot.recipe import load_recipe

    if n_classes < 2:
        raise ConfigError(complaint("--n-classes", "number", n_classes, "a whole number >= 2"))
    if not 0.05 <= window_s <= 60:
        raise ConfigError(complaint("--window-s", "seconds", window_s, "a window of 0.05 to 60 seconds"))
    loaded = load_recipe(recipe, change)
    rate_hz = loaded.audio.rate_hz
    seconds = window_s if loaded.audio.window_s == "auto" else loaded.audio.window_s
    for name, member in loaded.members.items():
        shape = member.features.output_shape(round(seconds * rate_hz), rate_hz=rate_hz)
        model = MODELS[member.model.kind](member.model, input_shape=shape, n_classes=n_classes)
        print(f"{name}: {member.model.kind} on {member.features.kind} {shape}, {n_classes} classes")
        if member.is_network:
            print(summarise(model, input_shape=shape))
        else:
            settings = member.model.model_dump(exclude={"kind"})
            print(", ".join(f"{key} = {value}" for key, value in settings.items()))
