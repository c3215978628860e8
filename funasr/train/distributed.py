"""Several processes that train one model: who they are, what they tell one another, who holds which weights.

Started by torchrun, each process finds its place in RANK, LOCAL_RANK and WORLD_SIZE. Every process has a copy
of the model (DDP), or a share of each weight (FSDP2). Checkpoints are whole in both cases, and the same.
"""

from __future__ import annotations

import os
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from funasr.errors import OptionError

T = TypeVar("T")
PATIENCE = timedelta(hours=1)
"""How long processes wait for one another: rank 0 may be downloading a model, or writing a large one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    """Among the processes of this machine."""

    @classmethod
    def current(cls) -> Ranks:
        """The place in the process group that was joined; alone where there is none."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(
            rank=dist.get_rank(),
            world=dist.get_world_size(),
            local_rank=int(os.environ.get("LOCAL_RANK", dist.get_rank())),
        )

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def device(self, wanted: torch.device) -> torch.device:
        """Each process of a machine has a GPU of its own, unless one is named."""
        if wanted.type != "cuda" or wanted.index is not None or self.world == 1:
            return wanted
        return torch.device("cuda", self.local_rank)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: T) -> list[T]:
        """Everybody's value, in the order of ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for all."""
        if self.world > 1:
            dist.barrier()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """One process of each machine goes first, the others when it is done: for downloads."""
        if self.local_rank:
            self.barrier()
        try:
            yield
        finally:
            if not self.local_rank:
                self.barrier()


@contextmanager
def joined(backend: str | None = None, *, cuda: bool = False) -> Iterator[Ranks]:
    """Join the processes that torchrun started, until the block ends; alone without torchrun.

    `backend` is `nccl` on a GPU and `gloo` elsewhere unless it is given. Raises OptionError for one that this
    torch does not have.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Ranks()
        return
    _check_place()
    backend = backend or ("nccl" if cuda else "gloo")
    if not dist.is_backend_available(backend):
        known = [name for name in ("gloo", "nccl", "mpi") if dist.is_backend_available(name)]
        raise OptionError(f"backend {backend!r}: this torch has {', '.join(known)}")
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, world = next(dist.rendezvous("env://", timeout=PATIENCE))  # type: ignore[attr-defined]
    fresh = dist.PrefixStore(_agreed_name(store, rank, world), store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=fresh, rank=rank, world_size=world, timeout=PATIENCE)
    try:
        yield Ranks.current()
    finally:
        dist.destroy_process_group()


def _check_place() -> None:
    """Raises OptionError for a place that cannot be: whoever has it would wait for others in vain."""
    given = {name: os.environ.get(name, "0") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    said = " ".join(f"{name}={value}" for name, value in given.items())
    if not all(value.isdecimal() for value in given.values()):
        raise OptionError(f"the environment has {said}: these are whole numbers, which torchrun sets")
    if not int(given["RANK"]) < int(given["WORLD_SIZE"]):
        raise OptionError(
            f"the environment has {said}: ranks count from 0 and are less than WORLD_SIZE. Start the "
            "processes by torchrun, which sets all three"
        )


def _agreed_name(store: Any, rank: int, world: int) -> str:
    """A name that these processes have never used.

    torchrun keeps its store when it starts processes again, with the addresses of the ones that died: under
    names of their own, those cannot be taken for ours. Process 0 says the name to whoever asks, until all
    who are alive have it.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"asks/{rank}", own)
        name = str(store.get(f"told/{own}").decode())
        store.set(f"knows/{name}/{own}", "")
        return name
    waiting = set(range(1, world))
    while waiting:
        for other in [other for other in waiting if store.check([f"asks/{other}"])]:
            asker = store.get(f"asks/{other}").decode()
            store.set(f"told/{asker}", own)
            if store.check([f"knows/{own}/{asker}"]):
                waiting.remove(other)
        time.sleep(0.01)
    return own


class Team:
    """What learns, spread over the processes. Called with a batch as the module itself would be."""

    def __init__(
        self,
        learner: nn.Module,
        optimizer: Optimizer,
        ranks: Ranks,
        *,
        shard: bool = False,
        find_unused_parameters: bool = False,
    ) -> None:
        self.learner = learner
        self._training = learner
        learns = any(parameter.requires_grad for parameter in learner.parameters())
        if ranks.world == 1 or not learns:
            return
        if shard:
            _shard(learner, optimizer, ranks)
        else:
            # Of depthwise convolutions, whose gradients have strides of their own: a copy, and no fault.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            # Which parameters a loss reaches depends on the settings; a look too many is no fault either.
            warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
            self._training = DistributedDataParallel(
                learner, find_unused_parameters=find_unused_parameters, gradient_as_bucket_view=True
            )

    def __call__(self, *inputs: Any) -> Any:
        # Evaluation needs no gradients brought together, and so not DDP.
        return (self._training if self.learner.training else self.learner)(*inputs)

    def gathering(self, *, last: bool) -> AbstractContextManager[None]:
        """Around a batch: gradients stay in this process until the `last` one before an update."""
        if isinstance(self._training, DistributedDataParallel):
            return nullcontext() if last else self._training.no_sync()
        if isinstance(self._training, FSDPModule):
            self._training.set_requires_gradient_sync(last)
        return nullcontext()


def _shard(learner: nn.Module, optimizer: Optimizer, ranks: Ranks) -> None:
    """Each layer of a stack is a unit whose weights come together while it works; the rest is one more."""
    kind = next(learner.parameters()).device.type
    mesh = init_device_mesh(kind, (ranks.world,))
    before = dict(learner.named_parameters())
    for tensor in learner.state_dict().values():
        dist.broadcast(tensor, 0)  # as DDP does: all begin with the same
    for module in list(learner.modules()):
        if isinstance(module, nn.ModuleList):
            for layer in module:
                if any(True for _ in layer.parameters()) and not isinstance(layer, nn.ModuleList):
                    fully_shard(layer, mesh=mesh)
    fully_shard(learner, mesh=mesh)
    # The optimiser was built over whole weights.
    shares = {id(before[name]): parameter for name, parameter in learner.named_parameters()}
    for group in optimizer.param_groups:
        group["params"] = [shares[id(parameter)] for parameter in group["params"]]


def whole(state: Any) -> Any:
    """The state of a module or an optimiser, nested as it is, with shares put together. All must call it."""
    if isinstance(state, DTensor):
        return state.full_tensor().cpu()
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(whole(value) for value in state)
    return state


def shares_of(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Whole weights by name -> what this process holds of each."""
    own = module.state_dict()
    return {name: _share(tensor, own.get(name)) for name, tensor in state.items()}


def optimizer_shares_of(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The whole state of an optimiser -> what this process holds of it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        **state,
        "state": {
            number: {key: _share(value, parameters[number]) for key, value in entries.items()}
            for number, entries in state["state"].items()
        },
    }


def _share(value: Any, like: Any) -> Any:
    """Tensors of the shape of a weight that is shared out are shared out as it is; none is part of a file."""
    if not isinstance(value, Tensor):
        return value
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value.clone()
    # Without a source rank nothing is sent: everybody has read the same file.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
