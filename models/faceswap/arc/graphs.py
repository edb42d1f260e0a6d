"""Running a torch module on batches of any size: fixed bucket sizes, each a CUDA graph on a GPU."""

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

BUCKETS = (1, 4, 8, 16, 32)

Net = Callable[..., tuple[Tensor, ...]]


def split(count: int, buckets: Sequence[int] = BUCKETS) -> list[int]:
    """Bucket sizes that together hold `count` items, padding a bucket by no more than a quarter.

    >>> split(33), split(7), split(5)
    ([32, 1], [8], [4, 1])
    """
    parts: list[int] = []
    while count > 0:
        bucket = next((b for b in buckets if count <= b <= count * 4 / 3), None)
        bucket = bucket or max(b for b in buckets if b <= count)
        parts.append(bucket)
        count -= bucket
    return parts


class Buckets:
    """A network of which every input and output has the batch first, run in bucket sizes.

    On a GPU each bucket is captured once as a CUDA graph; the graphs share memory, so runs take turns. Thread-safe.
    shapes: of each input without the batch.
    """

    def __init__(
        self, net: Net, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, device: str, buckets: Sequence[int] = BUCKETS
    ) -> None:
        self._net = net
        self._buckets = tuple(buckets)
        self._lock = threading.Lock()
        self._captured: dict[int, _Captured] = {}
        self._on_device = partial(torch.cuda.device, device) if device.startswith("cuda") else nullcontext
        if device.startswith("cuda"):
            pool: Any = None
            with self._on_device(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
                for bucket in reversed(self._buckets):  # the largest first: the others fit into its memory
                    inputs = [_filled((bucket, *shape), dtype, device) for shape in shapes]
                    self._captured[bucket] = _Captured(net, inputs, pool)
                    pool = self._captured[bucket].graph.pool()

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs for any number of items, in tensors that later runs do not overwrite."""
        done: list[tuple[Tensor, ...]] = []
        start, count = 0, len(inputs[0])
        with self._lock, self._on_device(), torch.inference_mode():
            for bucket in split(count, self._buckets) if self._captured else [count]:
                part = [tensor[start : start + bucket] for tensor in inputs]
                done.append(self._captured[bucket].run(part) if self._captured else self._net(*part))
                start += bucket
        return done[0] if len(done) == 1 else tuple(torch.cat(outputs) for outputs in zip(*done, strict=True))


class _Captured:
    """One bucket's CUDA graph with its fixed input and output tensors."""

    def __init__(self, net: Net, inputs: list[Tensor], pool: Any) -> None:
        self._inputs = inputs
        self.graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode():
            with torch.cuda.stream(side):
                for _ in range(3):  # cuDNN measures its algorithms on the first runs
                    net(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
                self._outputs = net(*inputs)

    def run(self, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        count = len(inputs[0])
        for fixed, given in zip(self._inputs, inputs, strict=True):
            fixed[:count].copy_(given)
        self.graph.replay()
        return tuple(output[:count].clone() for output in self._outputs)


def _filled(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.full(shape, 0.5, dtype=dtype, device=device).to(memory_format=layout)
