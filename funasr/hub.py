"""The name of a model -> the directory it lies in, fetched from ModelScope or Hugging Face where needed.

A directory of one's own wins, then the models that come with the package, then known names and hub ids.
Files that are there already are used without a question to the network; `check_latest` asks.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import json
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from funasr import aliases
from funasr.aliases import ALIASES
from funasr.errors import HubError, MissingDependencyError, ModelNotFoundError, OptionError, did_you_mean
from funasr.values import shown

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).parent / "bundled"
HUBS = {"ms": "ms", "modelscope": "ms", "hf": "hf", "huggingface": "hf"}
HUB_NAMES = {"ms": "ModelScope", "hf": "Hugging Face"}
OFFLINE_VARIABLES = ("FUNASR_OFFLINE", "HF_HUB_OFFLINE")
_DEFAULT_REVISIONS = (None, "", "master", "main")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_quiet_lock = threading.Lock()


def resolve(
    name: str | Path,
    *,
    hub: str = "ms",
    revision: str | None = None,
    offline: bool = False,
    check_latest: bool = False,
    progress: bool | None = None,
    graphs: bool = False,
) -> Path:
    """The directory of a model.

    name: a directory, `bundled-...`, a name in ALIASES or a hub id such as "iic/SenseVoiceSmall".
    offline: never ask the network; FUNASR_OFFLINE=1 and HF_HUB_OFFLINE=1 do the same.
    progress: let the hub client draw its progress bars on stderr; None: if that is a terminal.
    graphs: torch will not run the model: of a known name fetch the repository of its ONNX graphs, where there
    is one and the model itself is not here with a graph of its own.

    Raises ModelNotFoundError for a name nobody knows, HubError for a download that failed (with its cause),
    OptionError for an unknown hub.
    """
    if hub not in HUBS:
        raise OptionError(f"hub={hub!r} is not a hub{did_you_mean(hub, HUBS) or '.'} Use 'ms' or 'hf'.")
    folder = _folder(str(name))
    if folder is not None:
        return folder
    side, model_id = _identify(str(name), HUBS[hub])
    wanted = None if revision in _DEFAULT_REVISIONS else revision
    repository = aliases.ONNX.get(str(name)) if graphs and wanted is None else None
    if repository is not None and not _has_graph(_cached(side, model_id, None)):
        side, model_id = "ms", repository.ms
    offline = offline or any(_is_set(variable) for variable in OFFLINE_VARIABLES)
    cached = _cached(side, model_id, wanted)
    if cached is None and _means_a_directory_here(str(name)):
        raise ModelNotFoundError(_no_directory(str(name)))
    lacking = missing_files(cached) if cached is not None else []
    if cached is not None and not lacking and (offline or not check_latest):
        return cached
    if offline:
        state = f"only in part (no {', '.join(lacking)})" if cached else "not"
        raise HubError(
            f"{model_id}{f' at revision {wanted}' if wanted else ''} is {state} on this machine, and offline "
            f"mode forbids to fetch it. Run once without offline= and {' or '.join(OFFLINE_VARIABLES)}, "
            "or give a directory."
        )
    try:
        fetched = _download(side, model_id, wanted, sys.stderr.isatty() if progress is None else progress)
    except HubError as error:
        if cached is None and aliases.find_alias(str(name)) is None:
            raise HubError(f"there is no directory {str(name)!r} here, and {error}") from error
        if cached is None or lacking:
            raise
        logger.warning("%s Using the copy in %s.", error, cached)
        return cached
    lacking = missing_files(fetched)
    if lacking:
        raise HubError(
            f"{model_id} was fetched to {fetched}, but {', '.join(lacking)} did not arrive. Try again."
        )
    return fetched


def _has_graph(folder: Path | None) -> bool:
    return folder is not None and any(folder.glob("*.onnx"))


def bundled() -> dict[str, Path]:
    """The models that come with the package: `bundled-<directory>` -> directory."""
    if not BUNDLED.is_dir():
        return {}
    return {f"bundled-{path.parent.name}": path.parent for path in sorted(BUNDLED.glob("*/config.yaml"))}


def missing_files(folder: Path) -> list[str]:
    """Files that a finished download of the model in `folder` would have; empty when all is there."""
    if not any(folder.iterdir()):
        return ["any file"]
    begun = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.incomplete"))]
    try:
        metas = json.loads((folder / "configuration.json").read_text(encoding="utf-8"))["file_path_metas"]
        needed = list(_needed(metas, weights=not any(folder.glob("*.onnx"))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        needed = []  # no such file, or one that modeldir.py explains better
    absent = [name for name in needed if not (folder / name).exists()]
    return list(dict.fromkeys([name.removesuffix(".incomplete") for name in begun] + absent))


def _needed(metas: dict[str, Any], weights: bool) -> Iterator[str]:
    """The files in `file_path_metas` that no model goes without; it may name others that nobody shipped."""
    wanted = {"config", "token_list", "bpemodel", "cmvn_file"} | ({"init_param"} if weights else set())
    for key, value in metas.items():
        if isinstance(value, dict):
            yield from _needed(value, weights)
        elif key in wanted and isinstance(value, str) and value:
            yield value


def _folder(name: str) -> Path | None:
    """A directory that needs no hub. Raises ModelNotFoundError for a path to nothing, or to a file."""
    # A directory that happens to be called like a model (results of `-o fsmn-vad`) is not one.
    try:
        path = Path(name).expanduser()
        here = bool(name) and path.is_dir() and (name not in ALIASES or _has_settings(path))
        is_file = name not in ALIASES and path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # forbidden, too long, a NUL in it, no such ~user
        cause = getattr(error, "strerror", None) or error
        raise ModelNotFoundError(f"the model {shown(name)} cannot be looked for: {cause}") from error
    if here:
        return path.resolve()
    if is_file:
        raise ModelNotFoundError(
            f"{name!r} is a file, and a model is a directory: give the one it lies in, {str(path.parent)!r}"
        )
    models = bundled()
    if name.startswith("bundled-") or (name not in ALIASES and f"bundled-{name}" in models):
        full = name if name.startswith("bundled-") else f"bundled-{name}"
        full = next((f"bundled-{model.directory}" for model in aliases.BUNDLED if model.name == full), full)
        if full not in models:
            raise ModelNotFoundError(
                f"no model {name!r} comes with this package"
                f"{_choices(full, [model.name for model in aliases.BUNDLED] + list(models))}"
            )
        return models[full]
    is_path = path.is_absolute() or name.startswith((".", "~")) or name.endswith(("/", os.sep))
    if is_path or (len(path.parts) > 1 and not _HUB_ID.fullmatch(name)):
        raise ModelNotFoundError(_no_directory(name))
    return None


def _has_settings(folder: Path) -> bool:
    return any((folder / file).exists() for file in ("config.yaml", "configuration.json"))


def _means_a_directory_here(name: str) -> bool:
    """`exp/typo` where there is a folder `exp`: no id of a hub, unless released models have that owner."""
    owner, slash, _ = name.partition("/")
    released = {id_.partition("/")[0] for alias in ALIASES.values() for id_ in (alias.ms, alias.hf) if id_}
    return bool(slash) and owner not in released and Path(owner).is_dir()


def _no_directory(name: str) -> str:
    """What to say of a path that leads nowhere, with what is near it."""
    path = Path(name).expanduser()
    there = path.parent
    while not there.is_dir() and there != there.parent:
        there = there.parent
    if there != path.parent:
        return f"no directory {name!r}: there is no {str(there / path.relative_to(there).parts[0])!r}"
    try:
        models = sorted(one.name for one in there.iterdir() if one.is_dir() and _has_settings(one))
        others = [one.name for one in there.iterdir() if one.is_dir()]
    except OSError:
        models, others = [], []
    near = difflib.get_close_matches(path.name, [*models, *others], n=1)
    if near:
        return f"no directory {name!r}. Did you mean {str(there / near[0])!r}?"
    known = f"; {str(there)!r} holds {', '.join(models[:8])}" if models else ""
    return f"no directory {name!r}{known}. Give an existing directory or a name of docs/models.md."


def _identify(name: str, hub: str) -> tuple[str, str]:
    """(hub, repository id) of a known name or of an id."""
    alias = ALIASES.get(name)
    if alias is None:
        if not _HUB_ID.fullmatch(name):
            raise ModelNotFoundError(
                f"no model {name!r}: not a directory, and not one of the {len(ALIASES)} known names"
                f"{did_you_mean(name, [*ALIASES, *bundled()]) or '.'} docs/models.md lists them; a hub id "
                "has the form 'owner/name'."
            )
        return hub, name
    if hub == "ms":
        return hub, alias.ms
    if alias.hf is None:
        logger.warning("%s is not on Hugging Face; taking %s from ModelScope", name, alias.ms)
        return "ms", alias.ms
    return hub, alias.hf


def _choices(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or (f"; these do: {', '.join(known)}." if known else ".")


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on")


def _cached(hub: str, model_id: str, revision: str | None) -> Path | None:
    """The snapshot in the hub client's own cache; no socket is opened. It may be incomplete."""
    return _cached_ms(model_id, revision) if hub == "ms" else _cached_hf(model_id, revision)


def _cached_ms(model_id: str, revision: str | None) -> Path | None:
    """Where the ModelScope client, today's or an older one, puts a model.

    Looked up here and not by the client: importing it takes longer than all the rest of `resolve`.
    """
    root = Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope").expanduser()
    owner, name = model_id.split("/")
    snapshots = root / "models" / f"{owner}--{name}" / "snapshots"
    for wanted in (revision,) if revision else ("master", "main"):
        if (snapshots / wanted).is_dir():
            return snapshots / wanted
    for base in (root / "models", root / "hub" / "models", root, root / "hub"):
        for old in (base / owner / name.replace(".", "___"), base / owner / name):
            if old.is_dir() and (revision is None or _old_revision(old) == revision):
                return old
    return None


def _old_revision(folder: Path) -> str | None:
    """The revision that older ModelScope clients noted beside the files: `Revision:v2.0.4,CreatedAt:...`."""
    with contextlib.suppress(OSError):
        note = (folder / ".mv").read_text(encoding="utf-8")
        return note.partition(",")[0].removeprefix("Revision:").strip()
    return None


def _cached_hf(model_id: str, revision: str | None) -> Path | None:
    snapshot_download = _hf_client()
    try:
        return Path(snapshot_download(model_id, revision=revision, local_files_only=True))
    except Exception as error:
        # The client has a class of its own for each way of not having the files; all mean: fetch them.
        logger.debug("%s is not in the Hugging Face cache: %s", model_id, error)
        return None


def _download(hub: str, model_id: str, revision: str | None, progress: bool) -> Path:
    logger.info("fetching %s from %s", model_id, HUB_NAMES[hub])
    try:
        if hub == "ms":
            _reach_modelscope()
        with contextlib.nullcontext() if progress else _quiet(hub):
            if hub == "hf":
                return Path(_hf_client()(model_id, revision=revision, library_name="funasr"))
            return Path(
                _ms_client()(model_id, revision=revision, user_agent={"third_party": "funasr"}, max_workers=4)
            )
    except MissingDependencyError:
        raise
    except Exception as error:
        # Every client raises its own tree of errors, and requests', httpx's and the system's besides.
        where = f"{model_id}{f' at revision {revision}' if revision else ''} from {HUB_NAMES[hub]}"
        raise HubError(f"cannot fetch {where}: {_explain(error, hub)}") from error


def _reach_modelscope() -> None:
    """Fail at once where there is no network: the client would try again for half a minute without a word."""
    if {"http", "https", "all"} & set(getproxies()):
        return  # only the proxy is reached from here
    names = ("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN")
    given = next((value for value in map(os.environ.get, names) if value), "www.modelscope.cn")
    url = urlsplit(given if "//" in given else f"https://{given}")
    port = url.port or (80 if url.scheme == "http" else 443)
    socket.create_connection((url.hostname or given, port), timeout=10).close()


def _hf_client() -> Any:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError("huggingface_hub", "hub='hf'", "pip install huggingface_hub") from error
    return snapshot_download


def _ms_client() -> Any:
    try:
        from modelscope_hub.compat.snapshot_download import snapshot_download
    except ImportError as error:
        raise MissingDependencyError("modelscope_hub", "hub='ms'", "pip install modelscope-hub") from error
    return snapshot_download


@contextlib.contextmanager
def _quiet(hub: str) -> Iterator[None]:
    """Silences the client's bars and log lines for one download; failures reach the caller as HubError.

    The switches belong to the process, so downloads wait for one another here.
    """
    with _quiet_lock, contextlib.ExitStack() as stack:
        log = logging.getLogger("huggingface_hub" if hub == "hf" else "modelscope_hub")
        if hub == "hf":
            from huggingface_hub.utils.tqdm import (
                are_progress_bars_disabled,
                disable_progress_bars,
                enable_progress_bars,
            )

            if not are_progress_bars_disabled():
                disable_progress_bars()
                stack.callback(enable_progress_bars)
        else:
            # This client has no switch: its module draws with what it calls `tqdm`.
            module: Any = importlib.import_module("modelscope_hub._download")
            bar = getattr(module, "tqdm", None)
            if bar is not None:
                module.tqdm = lambda *args, **kwargs: bar(*args, **{**kwargs, "disable": True})
                stack.callback(setattr, module, "tqdm", bar)
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL + 1)
        yield


def _explain(error: BaseException, hub: str) -> str:
    """Cause and cure of a failed download, from the errors that led to it."""
    chain = list(_causes(error))
    codes = {_status(one) for one in chain}
    names = {type(one).__name__ for one in chain}
    last = _first_line(chain[-1]) or type(chain[-1]).__name__
    if any(isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT) for one in chain):
        return f"the disk is full ({last}). Free some space, or point {_cache_variable(hub)} to another disk."
    if any(isinstance(one, PermissionError) or getattr(one, "errno", None) == errno.EROFS for one in chain):
        return f"the cache cannot be written ({last}). Point {_cache_variable(hub)} to a directory of yours."
    if "GatedRepoError" in names or 403 in codes:
        return f"access is not granted. Ask for it on the model's page, then log in with {_login(hub)}."
    if "RevisionNotFoundError" in names:
        return "it has no such revision. Leave model_revision out for the newest."
    if "RepositoryNotFoundError" in names or "NotExistError" in names or 404 in codes:
        return (
            "no such model or revision there, or it is private. Check the id, model_revision and hub= "
            f"('ms' or 'hf'); for a private one log in with {_login(hub)}."
        )
    if 401 in codes:
        return f"the hub asks for a login. Log in with {_login(hub)}."
    if any(code >= 500 for code in codes if code):
        return f"the hub answers with an error of its own ({last}). Try again later, or use the other hub."
    if any(re.search("Connect|Timeout|Network|Proxy|gaierror|OfflineMode|Deadline", name) for name in names):
        return f"no connection to the hub ({last}). Check the network or proxy, or give a local directory."
    return f"{_first_line(error) or type(error).__name__}."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, those it was raised from, and those of single files, outermost first."""
    yield error
    for inner in getattr(error, "failed_files", {}).values():
        yield from _causes(inner)
    inner = error.__cause__ or error.__context__
    if inner is not None:
        yield from _causes(inner)


def _status(error: BaseException) -> int:
    code = getattr(error, "status_code", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )
    return code if isinstance(code, int) else 0


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _cache_variable(hub: str) -> str:
    return "MODELSCOPE_CACHE" if hub == "ms" else "HF_HOME"


def _login(hub: str) -> str:
    return "MODELSCOPE_API_TOKEN=..." if hub == "ms" else "`hf auth login` or HF_TOKEN=..."
