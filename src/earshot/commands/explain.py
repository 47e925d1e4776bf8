"""The command that shows why a model says what it says of one sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from earshot.commands.app import app, must_be_apart, must_be_writable, reproduction
from earshot.console import ConsoleMonitor


@app.command
def explain(
    model: Path,
    file: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    class_name: Annotated[str | None, Parameter(name="--class")] = None,
    at: float | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> None:
    """Show what a model hears in one sound: what matters, whether that is so, and what each layer does.

    Args:
        model: Model folder, such as RUN/model.
        file: Sound file.
        output: Folder for explain.html, explanation.json and salient.wav; runs/explain-NAME without it.
        class_name: Class to explain; the most probable one without it.
        at: Second at which the explained window begins; without it the one that says most for the class.
        device: Where networks run: cpu, cuda, cuda:1, mps; auto takes the fastest there is.
        quiet: Print nothing but results and errors.
    """
    from earshot.explain.asked import check_file

    check_file(file)

    from earshot.data.fields import printable
    from earshot.deploy.bundle import Bundle
    from earshot.explain.explaining import explain_file
    from earshot.explain.writing import write_explanation

    folder = output or Path("runs") / f"explain-{file.stem}"
    must_be_apart(folder, option="--output")
    must_be_writable(folder, option="--output")
    bundle = Bundle.load(model, device=device)
    with ConsoleMonitor(quiet=quiet) as monitor:
        found = explain_file(bundle, file, class_name=class_name, at_s=at, monitor=monitor)
        write_explanation(found, folder, command=reproduction())
        best = found.tested[0]
        print(f"{printable(found.classes[found.k])} {found.probs[found.k]:.3f}")
        print(f"{best.saliency.method}: {best.verdict.sentence}")
        monitor.say(f"page: {folder / 'explain.html'}\nsalient part: {folder / 'salient.wav'}")
