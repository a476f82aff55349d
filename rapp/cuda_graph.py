"""A training step on a GPU, recorded once and replayed, which saves launching its kernels from Python."""

from collections.abc import Callable

import torch
from torch import Tensor


class Replayed:
    """A function of tensors, recorded as a CUDA graph at its fourth call and replayed from then on.

    A step launches hundreds of small kernels; launched one by one from Python they would cost several times as long
    as they run. Shapes and the tensors that the function changes must stay the same.
    """

    WARM_UP = 3  # calls that let libraries allocate what they need, as ordinary steps

    def __init__(self, function: Callable[..., Tensor]):
        self.function, self.calls = function, 0

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.calls += 1
        if self.calls <= self.WARM_UP:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                output = self.function(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            return output
        if self.calls == self.WARM_UP + 1:
            self.inputs, self.graph = [value.clone() for value in inputs], torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):  # recorded, not computed
                self.output = self.function(*self.inputs)
        for mine, value in zip(self.inputs, inputs, strict=True):
            mine.copy_(value)
        self.graph.replay()
        return self.output.clone()
