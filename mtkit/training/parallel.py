"""The model as the processes of a training hold it: one whole, whole in each (DDP), or in parts (FSDP2).

Whoever holds what, an update's gradient is the sum over the target tokens of all processes. torch's engines take the
mean over processes by default; here both are told to add.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtkit.checkpoint.checkpoint import Snapshot
from mtkit.checkpoint.weights import unique_weights
from mtkit.config.training import TrainingSection
from mtkit.corpus.batching import Batch
from mtkit.model.transformer import Transformer
from mtkit.runtime.distributed import Processes
from mtkit.training.batch_loss import BatchLoss
from mtkit.training.optimizer import build_optimizer

# The moving average follows the weights closely at first: its decay is at most (1 + step) / (10 + step).
_AVERAGE_WARMUP = 10


class TrainedModel:
    """A model, its optimizer and the moving average of its weights, over the processes that train it.

    Args:
        model: On its device, equal in all processes.
        training: Optimizer, loss, and how the processes share the model.
        processes: Who trains.
        precision: `fp32` or `bf16`, the arithmetic of the forward and backward pass.
        device: Where the model is.
    """

    def __init__(
        self, model: Transformer, training: TrainingSection, processes: Processes, precision: str, device: torch.device
    ) -> None:
        self.model = model
        self.training = training
        self.processes = processes
        self.precision = precision
        self.device = device
        model.recompute_layers = training.activation_checkpointing
        self.kind: Literal["one", "ddp", "fsdp"] = "one" if processes.count == 1 else training.parallel
        loss = BatchLoss(model, training.label_smoothing, training.r_drop)
        self._loss: nn.Module = loss
        if self.kind == "ddp":
            self._loss = _wrap_ddp(loss, device)
        elif self.kind == "fsdp":
            _shard(loss, device, processes.count)
        self.weights = unique_weights(model)  # by name; parts of them under FSDP
        self.parameters = list(self.weights.values())
        self.optimizer = build_optimizer(model, training)
        decay = training.ema_decay
        self.average = None if decay is None else [parameter.detach().clone() for parameter in self.parameters]

    def backward(self, batch: Batch, *, is_last: bool, weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Add the gradient of a batch's summed loss to those of the update.

        Of a loss that is not finite the gradient is not either: where the processes add theirs up, all of them see it.

        Args:
            batch: A micro-batch of this process.
            is_last: Whether it is this process's last of the update: the processes' gradients are added up then.
            weight: 0 for a batch that another process counts.

        Returns:
            The training loss and the plain one, summed over target tokens; float64 on the device.
        """
        with self._syncing(is_last):
            loss, nll = self.compute_loss(batch)
            one = 1 + 0 * loss.detach()  # NaN of a loss that is not finite, whose own gradient may be finite
            (loss * weight).backward(one)  # type: ignore[no-untyped-call]
        return loss.detach() * weight, nll.detach() * weight

    def compute_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the training loss and the plain one of a batch, summed over target tokens."""
        tensors = (tensor.to(self.device, non_blocking=True) for tensor in batch.tensors)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self._loss(*tensors)  # type: ignore[no-any-return]

    @contextmanager
    def _syncing(self, is_last: bool) -> Iterator[None]:
        with self._loss.no_sync() if self.kind == "ddp" and not is_last else nullcontext():  # type: ignore[operator]
            yield

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def step(self, learning_rate: float, num_tokens: float, step: int) -> Tensor:
        """Make an update from the gradients: normalised by the target tokens of all processes, then clipped.

        An update whose gradient is not finite leaves weights and optimizer as they are.

        Args:
            learning_rate: Of this update.
            num_tokens: Target tokens of the update, over all processes.
            step: 1-based number of the update.

        Returns:
            The norm of the normalised gradient before clipping, 0-dimensional, on the device: nothing waits for it.
        """
        norm = _whole(torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None]))
        norm = norm / num_tokens
        limit = self.training.clip_norm
        shrink = torch.clamp((norm + 1e-6) / limit, min=1.0) if limit is not None else torch.ones_like(norm)
        divisor = (shrink * num_tokens).to(torch.float32)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.kind != "fsdp" and self.device.type in {"cpu", "cuda"}:
            # The fused kernels divide and skip by themselves, so that the host need not wait for the norm.
            self.optimizer.grad_scale = divisor  # type: ignore[attr-defined]
            self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
            self.optimizer.step()
            self._follow(step, self.optimizer.found_inf)  # type: ignore[attr-defined]
        elif torch.isfinite(norm):
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.div_(divisor.to(parameter.grad.dtype))
            self.optimizer.step()
            self._follow(step, torch.zeros_like(divisor))
        return norm

    def _follow(self, step: int, skipped: Tensor) -> None:
        """Move the average towards the weights, unless the update was skipped."""
        if self.average is None:
            return
        decay = min(self.training.ema_decay or 0.0, (1 + step) / (_AVERAGE_WARMUP + step))
        weight = (1 - decay) * (1 - skipped)
        with torch.no_grad():
            for mean, parameter in zip(self.average, self.parameters, strict=True):
                mine, theirs = _local(mean), _local(parameter)
                mine.add_((theirs - mine) * weight.to(mine.dtype))

    def evaluated_weights(self) -> dict[str, Tensor] | None:
        """Return the weights to validate and to keep, whole, where they are not those that the model holds."""
        if self.average is not None:
            return {name: _whole(mean) for name, mean in zip(self.weights, self.average, strict=True)}
        if self.kind == "fsdp":
            return {name: _whole(parameter.detach()) for name, parameter in self.weights.items()}
        return None

    def take_snapshot(self) -> Snapshot:
        """Copy everything that resuming needs to main memory; all processes take part, the main one keeps it."""
        snapshot = Snapshot({}, {})
        for index, (name, parameter) in enumerate(self.weights.items()):
            self._keep(snapshot.weights, name, parameter.detach())
            if self.average is not None:
                self._keep(snapshot.average, name, self.average[index])
            for key, value in self.optimizer.state[parameter].items():
                self._keep(snapshot.optimizer, f"{key}/{name}", value)
        return snapshot

    def _keep(self, tensors: dict[str, Tensor], name: str, tensor: Tensor) -> None:
        whole = _whole(tensor)
        if self.processes.is_main:
            tensors[name] = whole.to("cpu", copy=True)

    def restore(self, snapshot: Snapshot) -> None:
        """Set weights, optimizer and average to those of a snapshot whose weights are known to fit."""
        states: dict[str, dict[str, Tensor]] = {}
        for full_name, tensor in snapshot.optimizer.items():
            key, _, name = full_name.partition("/")
            states.setdefault(name, {})[key] = tensor
        with torch.no_grad():
            for index, (name, parameter) in enumerate(self.weights.items()):
                parameter.copy_(_like(snapshot.weights[name], parameter))
                if self.average is not None:
                    self.average[index].copy_(_like(snapshot.average.get(name, snapshot.weights[name]), parameter))
                self.optimizer.state[parameter] = {
                    key: _like(value, parameter) if value.shape == parameter.shape else value.to(self.device)
                    for key, value in states.get(name, {}).items()
                }


def _wrap_ddp(loss: BatchLoss, device: torch.device) -> nn.Module:
    """Return the module under DDP, its gradients added up over the processes."""
    from torch.nn.parallel import DistributedDataParallel

    wrapped = DistributedDataParallel(
        loss,
        device_ids=[device] if device.type == "cuda" else None,
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
    )
    wrapped.register_comm_hook(None, lambda _state, bucket: _add_up(bucket))
    return wrapped


def _add_up(bucket: Any) -> Any:
    """Begin to add up the gradients of a bucket over the processes; return the future of the sums."""
    from torch import distributed

    work = distributed.all_reduce(bucket.buffer(), op=distributed.ReduceOp.SUM, async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def _shard(loss: BatchLoss, device: torch.device, num_processes: int) -> None:
    """Deal the parameters out over the processes, layer by layer, their gradients added up."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (num_processes,))  # by default it is the machine's GPUs, whatever is asked for
    for layer in (*loss.model.encoder_layers, *loss.model.decoder_layers):
        fully_shard(layer, mesh=mesh)
    fully_shard(loss, mesh=mesh)
    for module in loss.modules():
        if isinstance(module, FSDPModule):
            # Plain sums, then nothing to divide by: see pytorch#162338.
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)


def _whole(tensor: Tensor) -> Tensor:
    """Return a tensor whole where each process holds a part of it; all processes take part."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a whole tensor on the device of `parameter`, and dealt out as it is."""
    tensor = tensor.to(parameter.device)
    if not hasattr(parameter, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
