"""Models in one safetensors file: tensors, and in its header the JSON that says what they are.

The header's ``pushforward`` entry holds ``format`` (an integer), ``version`` (of the library that
wrote it), ``spec`` (the constructor call, see ``pushforward.spec``), ``facts`` (recipe, schema,
training summary) and ``digest`` (SHA-256 over all of that and every tensor). Nothing in a model
file is executed when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pushforward
from pushforward.errors import InputTypeError, MissingFolderError, ModelFileError, SpecError
from pushforward.spec import Part, Reader, Writer, dumps, public_name
from pushforward.transforms.influence import ConnectivityWarning

__all__ = ["FORMAT", "load", "save", "write_tensors"]

FORMAT = 1  # raised whenever an older reader would misread a newer file
_KEY = "pushforward"
_STATE = "state."


def save(part: Any, path: str | os.PathLike[str]) -> Path:
    """Write a flow, a table flow or any other part to one file.

    The file is written beside its place and moved there when it is whole, so that a crash leaves
    the old one as it was.

    Args:
        part: what to save.
        path: the file; ``.safetensors`` is the usual ending.

    Returns:
        The path.

    Raises:
        InputTypeError: the object is no part of this library.
        SpecError: it holds something that cannot be written down (a lambda, a foreign module).
        MissingFolderError: the folder of the file does not exist.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, pathlib, pushforward as pf
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "flow.safetensors"
        >>> flow = pf.flows.realnvp(2, seed=0)
        >>> _ = pf.save(flow, path)
        >>> bool((pf.load(path).log_prob([[0.0, 1.0]]) == flow.log_prob([[0.0, 1.0]])).all())
        True
    """
    if not isinstance(part, Part):
        raise InputTypeError(
            f"pf.save: got a {type(part).__name__}, expected a Flow, a TableFlow or a transform."
        )
    writer = Writer()
    spec = writer.part(part)
    state = {f"{_STATE}{key}": value for key, value in part.state_dict().items()}  # type: ignore[attr-defined]
    tensors = {key: _plain(value) for key, value in {**writer.tensors, **state}.items()}
    facts = part.remembered()
    _check_rebuild(part, spec, writer.tensors, facts)
    content = {
        "format": FORMAT,
        "version": pushforward.__version__,
        "spec": spec,
        "facts": facts,
    }
    content["digest"] = _digest(content, tensors)
    return write_tensors(tensors, {_KEY: dumps(content)}, path)


def _plain(value: Tensor) -> Tensor:
    return value.detach().to("cpu").contiguous().clone()


def _check_rebuild(
    part: Part, spec: Any, arguments: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Build the part from what is about to be written: better to fail now than in a year."""
    classes = {type(p) for p in _parts(part)}
    try:
        made = _build(spec, arguments, facts, classes)
    except ModelFileError as error:
        raise SpecError(
            f"pf.save: {public_name(type(part))} could not be loaded again: {error}"
        ) from error
    want = {k: tuple(v.shape) for k, v in part.state_dict().items()}  # type: ignore[attr-defined]
    have = {k: tuple(v.shape) for k, v in made.state_dict().items()}
    if want == have:
        before, after = _settings(part), _settings(made)
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        want, have = ({}, {}) if not changed else ({changed[0]: ()}, {})
    if want != have:
        odd = sorted(set(want.items()) ^ set(have.items()))[0][0]
        name = public_name(type(part))
        raise SpecError(
            f"pf.save: {name} was changed after it was built ({odd} differs from what its "
            f"constructor makes), so it could not be loaded again; build it anew."
        )


def _settings(part: Any) -> dict[str, tuple[type, dict[str, Any]]]:
    """Class and plain attributes of every module: what tells modules of equal tensors apart."""
    module = part if isinstance(part, torch.nn.Module) else part.flow
    return {
        name or "flow": (
            type(inner),
            {
                key: value
                for key, value in vars(inner).items()
                if isinstance(value, bool | int | float | str) and key != "training"
            },
        )
        for name, inner in module.named_modules()
    }


def _parts(part: Part) -> Iterable[Part]:
    """The part and every part among its modules and arguments."""
    seen: dict[int, Part] = {}
    waiting: list[Any] = [part]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting.extend(item)
        elif isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, Part) and id(item) not in seen:
            seen[id(item)] = item
            waiting.append(item._arguments["call"])
            if isinstance(item, torch.nn.Module):
                waiting.extend(item.modules())
    return seen.values()


def _build(
    spec: Any, arguments: Mapping[str, Tensor], facts: Mapping[str, Any], classes: Iterable[type]
) -> Any:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # building draws weights that are replaced at once, and warns of what is long decided
        warnings.simplefilter("ignore", ConnectivityWarning)
        try:
            made = Reader(arguments, classes).part(spec)
            made.remember(facts)
        except ModelFileError:
            raise
        except Exception as error:  # whatever a description that nobody of us wrote may hold
            raise ModelFileError(
                f"pf.load: the description of the model makes no sense ({error})."
            ) from error
    return made


def write_tensors(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: str | os.PathLike[str]
) -> Path:
    """Write a safetensors file beside its place, then move it there."""
    from safetensors.torch import save_file

    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFolderError(
            f"pf.save: {path}: the folder {path.parent} does not exist; make it first."
        )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        save_file(dict(tensors), temporary, dict(metadata))
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # on the disk before it takes the old file's place
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load(
    path: str | os.PathLike[str],
    *,
    classes: Iterable[type] = (),
    device: str | torch.device = "cpu",
) -> Any:
    """Read back what ``save`` wrote, in evaluation mode.

    Args:
        path: the file.
        classes: classes of your own that the file names.
        device: where the tensors go.

    Returns:
        What was saved: a ``Flow``, a ``TableFlow`` …

    Raises:
        ModelFileError: the file is missing, damaged, not ours, or from a newer version.
    """
    tensors, content = _read(Path(path))
    state = {
        key.removeprefix(_STATE): value for key, value in tensors.items() if key.startswith(_STATE)
    }
    made = _build(content["spec"], tensors, content["facts"], classes)
    try:
        made.load_state_dict(state, strict=True, assign=True)
    except (RuntimeError, KeyError) as error:
        why = str(error).splitlines()[0]
        raise ModelFileError(
            f"pf.load: {path}: the tensors do not fit the description ({why})."
        ) from error
    if isinstance(made, torch.nn.Module):
        made.eval().to(device)
    elif hasattr(made, "to"):
        made.to(device)
    return made


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        what = "is a folder, not a model file" if path.is_dir() else "there is no such file"
        raise ModelFileError(f"pf.load: {path}: {what}.")
    _refuse_foreign(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # Copies: what safetensors gives is the file itself, and would change with it.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(
            f"pf.load: {path}: the file is damaged or cut short ({error})."
        ) from error
    if _KEY not in metadata:
        raise ModelFileError(
            f"pf.load: {path}: a safetensors file, but not one that pushforward wrote."
        )
    return tensors, _checked(path, metadata[_KEY], tensors)


def _refuse_foreign(path: Path) -> None:
    """Say what the usual strangers are; nothing of them is read."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":  # eight bytes of length, then JSON: what a safetensors file begins with
        return
    if head[:1] == b"\x80" or head[:4] == b"PK\x03\x04":
        raise ModelFileError(
            f"pf.load: {path}: a pickle or a PyTorch checkpoint, which can run code when it is "
            f"read; pushforward reads only what pf.save wrote."
        )
    raise ModelFileError(f"pf.load: {path}: not a safetensors file, or its header is damaged.")


def _checked(path: Path, text: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    try:
        content = json.loads(text)
        number, version = int(content["format"]), str(content["version"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"pf.load: {path}: the header is damaged ({error}).") from error
    if number > FORMAT:
        raise ModelFileError(
            f"pf.load: {path}: written by pushforward {version} in format {number}; this version, "
            f"{pushforward.__version__}, reads formats up to {FORMAT}: upgrade pushforward."
        )
    digest = content.pop("digest", None)
    try:
        fits = digest == _digest(content, tensors)
    except ValueError:  # numbers that are none: dumps never wrote them
        fits = False
    if not fits or not {"spec", "facts"} <= content.keys():
        raise ModelFileError(
            f"pf.load: {path}: the file is damaged: its checksum does not fit its contents."
        )
    return content  # type: ignore[no-any-return]


def _digest(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the description and every tensor's name, kind, shape and bytes."""
    total = hashlib.sha256(dumps(content).encode())
    for key in sorted(tensors):
        value = tensors[key]
        total.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        # a fresh tensor: one of a single number may carry a stride that cannot be viewed as bytes
        flat = torch.empty(value.numel(), dtype=value.dtype).copy_(value.reshape(-1))
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()
