"""Data flows one way: a room imports only rooms above it in this list."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import pushforward

ROOMS = [
    "errors",
    "advice",
    "arguments",
    "spec",
    "numerics",
    "kernels",
    "networks",
    "maps",
    "transforms",
    "bases",
    "flows",
    "objectives",
    "data",
    "training",
    "tables",
    "information",
    "inference",
    "estimators",
    "viz",
    "scale",
    "studio",
    "cli",
]
FAMILIES_SEE = {
    "base",
    "compose",
    "domains",
    "elementwise",
    "fused",
    "linear",
    "moving",
}  # and no other family of transforms
# The command line holds one thin file a sub-command, besides what they share.
COMMANDS = {"fit", "score", "sample", "info", "flows", "demo", "bench", "report", "view", "measure"}
ROOT = Path(pushforward.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in ROOMS)


def imports(path):
    """(line, module of this package) of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import out in full"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_up(path):
    here = ROOMS.index(room_of(path))
    for line, module in imports(path):
        parts = module.split(".")
        if parts[0] != "pushforward" or len(parts) < 2 or parts[1].startswith("__"):
            continue
        assert parts[1] in ROOMS, f"{path.name}:{line} imports {module}, which is no room"
        assert ROOMS.index(parts[1]) <= here, f"{path.name}:{line} imports {module} from below"
        if room_of(path) == "data":
            assert parts[1] in {"errors", "numerics", "data"}, f"{path.name}:{line}: {module}"
        if parts[1] == "networks":
            assert room_of(path) != "numerics"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in FILES
        if room_of(path) == "transforms" and path.parent != ROOT / "transforms"
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_families_of_transforms_do_not_see_each_other(path):
    family = path.relative_to(ROOT).parts[1]
    for line, module in imports(path):
        parts = module.split(".")
        if parts[:2] == ["pushforward", "transforms"]:
            assert len(parts) > 3, f"{path.name}:{line}: import from the file, not from the room"
            assert parts[2] in FAMILIES_SEE | {family}, f"{path.name}:{line} imports {module}"


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda p: p.name)
def test_folders_stay_small(folder):
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    if folder == ROOT / "cli":
        modules -= COMMANDS
    if folder != ROOT:
        assert len(modules) <= 12, modules


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) < 400


def test_every_folder_of_the_package_is_a_room():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders <= set(ROOMS)


def test_the_names_of_the_package_are_those_it_promises():
    assert len(set(pushforward.__all__)) == len(pushforward.__all__)
    for name in pushforward.__all__:
        assert getattr(pushforward, name) is not None, name
    assert set(dir(pushforward)) == set(pushforward.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'flwos'"):
        pushforward.flwos  # noqa: B018


@pytest.mark.parametrize(
    "room", [room for room in ROOMS if room in pushforward.__all__ and room != "errors"]
)
def test_rooms_list_what_they_give(room):
    module = getattr(pushforward, room)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


@functools.cache
def loaded_after(code):
    """Names of the modules that a fresh Python has loaded after a line of code."""
    report = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", report], capture_output=True, text=True, check=True
    )
    return frozenset(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "numpy", "polars", "pyarrow", "pandas", "narwhals", "typer", "rich", "scipy"}
    loaded = loaded_after("import pushforward")
    assert not loaded & heavy
    assert {name for name in loaded if name.startswith("pushforward")} == {"pushforward"}


@pytest.mark.parametrize(
    "code",
    [
        "import pushforward as pf; pf.Flow",
        "import pushforward as pf; pf.fit",
        "import pushforward as pf; pf.flows.nsf(2, seed=0)",
        "import pushforward as pf; pf.flows.nsf(2).log_prob([[0.0, 1.0]])",
        "import pushforward as pf; pf.save, pf.load, pf.check",
    ],
)
def test_the_first_use_imports_no_more_than_torch_does(code):
    """What ``import torch`` loads cannot be helped; nothing heavy comes on top."""
    heavy = {
        "IPython",
        "matplotlib",
        "narwhals",
        "pandas",
        "plotly",
        "polars",
        "pyarrow",
        "rich",
        "scipy",
        "sklearn",
        "sympy",
        "torch._dynamo",
        "torch._inductor",
        "torch.distributions",
        "typer",
    }
    extra = loaded_after(code) - loaded_after("import torch")
    assert not extra & heavy
