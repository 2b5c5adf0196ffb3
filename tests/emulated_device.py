"""A device that is not the CPU, for machines that have no other: what a GPU would refuse is refused here.

Its tensors say that they lie on `DEVICE`, and hold their values on the CPU. As on a GPU, an operation refuses tensors
of both places, but for single numbers, copies, and the indices of a tensor; a norm refuses weights of another type than
its input's; and nothing is shared with NumPy. What only a GPU has, its kernels, streams and autocast, is not emulated.
"""

import sys
from contextlib import contextmanager, nullcontext

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# Of all types of device but the CPU, the one for which autograd and indexing ask for no hardware.
DEVICE = torch.device("meta")
_CPU = torch.device("cpu")
_aten = torch.ops.aten
_NORMS = {_aten.layer_norm, _aten.native_layer_norm}
_INDEXING = {_aten.index, _aten.index_put, _aten.index_put_}


@contextmanager
def emulated_device(monkeypatch):
    """Let mtkit find no device but the emulated one."""
    for name, module in list(sys.modules.items()):
        if name.startswith("mtkit.") and hasattr(module, "resolve_device"):
            monkeypatch.setattr(module, "resolve_device", lambda *_: DEVICE)
    # What torch does not do for this type of device: autocast, a fused optimizer.
    autocast, is_enabled = torch.autocast, torch.is_autocast_enabled
    monkeypatch.setattr(torch, "autocast", lambda kind, *a, **k: _autocast(autocast, kind, *a, **k))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind != DEVICE.type and is_enabled(kind))
    monkeypatch.setattr(sys.modules[torch.optim.Adam.__module__], "_device_dtype_check_for_fused", lambda _: None)
    monkeypatch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)  # tied weights stay tied
    with _Functions(), _Operations():
        yield DEVICE


def _autocast(autocast, kind, dtype, enabled):
    if kind != DEVICE.type:
        return autocast(kind, dtype, enabled=enabled)
    assert not enabled, "the emulated device computes in fp32"
    return nullcontext()


class DeviceTensor(torch.Tensor):
    """A tensor on the device; its values are `inner`, a tensor of the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "layout": inner.layout}
        with torch.inference_mode(False):  # a slice of a tensor of inference mode cannot be wrapped
            tensor = torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype, device=DEVICE, **layout)
        tensor.inner = inner
        return tensor

    def __repr__(self):
        return f"DeviceTensor({self.inner!r})"

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """Sees all operations, those too that make a tensor of none."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Sees what would move values to the device by itself, where no operation shows it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return function(*args, **kwargs).to(device)
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], _with_tensors(args[1]), *args[2:])
        return function(*args, **kwargs)


def _with_tensors(index):
    """Return an index with tensors instead of lists."""
    if isinstance(index, tuple):
        return tuple(map(_with_tensors, index))
    return torch.tensor(index) if isinstance(index, list) else index


def _compute(operation, args, kwargs):
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    place = kwargs.get("device")
    is_there = bool(there) if place is None else torch.device(place).type == DEVICE.type
    if operation is _aten.copy_.default:
        is_there = isinstance(args[0], DeviceTensor)
    elif operation is not _aten._to_copy.default and there:
        _check(operation, args, tensors)
    if is_there and place is not None:
        kwargs = {**kwargs, "device": _CPU}
    inner_args, inner_kwargs = tree_map(lambda x: x.inner if isinstance(x, DeviceTensor) else x, (args, kwargs))
    result = operation(*inner_args, **inner_kwargs)
    given = {id(tensor.inner): tensor for tensor in there}  # an operation in place returns what it was given

    def wrap(x):
        if not is_there or not isinstance(x, torch.Tensor):
            return x
        return given[id(x)] if id(x) in given else DeviceTensor(x)

    return tree_map(wrap, result)


def _check(operation, args, tensors):
    allowed = {id(index) for index in args[1]} if operation.overloadpacket in _INDEXING else set()
    strangers = [x for x in tensors if not isinstance(x, DeviceTensor) and x.dim() > 0 and id(x) not in allowed]
    if strangers:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in strangers)
        raise RuntimeError(f"{operation}: tensors on two devices; on the CPU those of shape {shapes}")
    if operation.overloadpacket in _NORMS and len({tensor.dtype for tensor in tensors}) > 1:
        raise RuntimeError(f"{operation}: tensors of two types: {', '.join(str(tensor.dtype) for tensor in tensors)}")
