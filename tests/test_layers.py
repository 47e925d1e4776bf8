"""The arrows between modules, read from their source: they run one way, and private names stay private."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import earshot

ROOT = Path(earshot.__file__).parent
# From the bottom up; parts in one line do not know each other unless they are one folder.
ORDER = (
    ("errors", "files", "monitor", "versions"),
    ("audio",),
    ("data",),
    ("models",),
    ("evaluation",),
    ("training",),
    ("report",),
    ("recipe",),
    ("deploy",),
    ("explain",),
    ("runfolder",),
    ("hearing", "trainings"),
    ("fold_trainer",),
    ("learning_curve", "run_page"),
    ("results",),
    ("experiment",),
    ("classifier", "studies", "comparing", "audit"),
    ("held_out",),
    ("evaluating",),
    ("demo",),
    ("console",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
# Small and quick to start, because worker processes load them.
LIGHT = ("audio/decode.py", "audio/store.py", "errors.py", "files.py", "monitor.py")
HEAVY = {"torch", "librosa", "sklearn", "pandas", "numpy", "scipy", "matplotlib", "pydantic", "soundfile"}

MODULES = sorted(ROOT.rglob("*.py"))


def part_of(module):
    """The folder or file right below the package that a dotted name belongs to; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def imports(path):
    """(module, name or None) of everything that a file imports from this package, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "earshot")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module and node.module.split(".")[0] == "earshot":
                yield from ((node.module, alias.name) for alias in node.names)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def own_part(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_part_has_a_place_in_the_order(path):
    assert own_part(path) in {*LEVEL, "__init__"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_run_one_way(path):
    if own_part(path) == "__init__":
        return  # its lazy names point everywhere
    own = own_part(path)
    for module, name in imports(path):
        target = part_of(module) or (name if name in LEVEL else "")
        if target and target != own:
            assert LEVEL[target] < LEVEL[own], f"{own} imports {target}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_private_names_stay_in_their_module(path):
    tree = ast.parse(path.read_text())
    modules = set()
    for module, name in imports(path):
        assert not any(part.startswith("_") for part in (name or "").split(".")), f"{module}.{name}"
        if name is None or (ROOT.parent / module.replace(".", "/") / f"{name}.py").is_file():
            modules.add((name or module).split(".")[-1])
    reached = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }
    assert reached == set()


def loaded_by(statement):
    """Top-level packages that a fresh interpreter has after a statement, and the seconds of processor time."""
    script = f"import sys, time; t = time.process_time(); {statement}; t = time.process_time() - t"
    script += "; print(t, *sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, *names = done.stdout.split()
    return float(seconds), set(names)


def test_import_earshot_loads_nothing_heavy_and_takes_no_time():
    seconds, names = loaded_by("import earshot")
    assert names & HEAVY == set()
    assert seconds < 0.15


def test_public_names_are_listed_and_load_on_first_use():
    started = time.process_time()
    assert {"AudioClassifier", "Clips", "read_clips", "__version__"} <= set(dir(earshot))
    assert time.process_time() - started < 0.15
    for name in earshot.__all__:
        assert getattr(earshot, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = earshot.nothing


@pytest.mark.parametrize("name", LIGHT)
def test_what_worker_processes_load_stays_small(name):
    _, names = loaded_by(f"import earshot.{name.removesuffix('.py').replace('/', '.')}")
    assert names & {"torch", "librosa", "sklearn", "pandas", "matplotlib"} == set()
