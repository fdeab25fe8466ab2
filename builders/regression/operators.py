"""The centred Gram C of masks on a torch device, as what a solver asks of it: products, small blocks, and exact products.

It is held as a matrix, or, while models are few, as the centred masks X with C = X'X / m, which is less to hold (5,000
masks of 50,000 examples: 1 GB against 10) and less to multiply with.

`product` may be rounded to TF32 on CUDA. A product with weights is the sum of a large term from the diagonal and of many
small ones, so the diagonal is multiplied in float32, which makes the rounding 20 times smaller (at 1,000 examples: 3e-5 of
lambda_max against 6e-4). `exact` is float64 throughout.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from builders.regression.device_sums import unpacked
from builders.regression.moments import masks_around
from builders.regression.statistics import Totals

ROWS = 1024  # rows of the Gram, or models, taken at a time in float64


class Dense:
    """C as a matrix.

    off       [n_train, n_train] float32: C with a zero diagonal
    diagonal  [n_train] float32
    width     numbers beside its blocks that `packed` needs for a member
    """

    width = 0

    def __init__(self, totals: Totals, around: Totals, where: torch.device) -> None:
        self.n_models, counts = totals.n_models, totals.pairs.counts
        self.counts = torch.as_tensor(counts, device=where)
        means, excess = masks_around(totals, around)
        self.left = torch.from_numpy(totals.mask_sums.astype(float)).to(where), torch.from_numpy(means).to(where)
        self.right = self.left[1], torch.from_numpy(excess).to(where)
        self.off = torch.empty(self.counts.shape, dtype=torch.float32, device=where)
        for rows in _blocks(len(self.off)):
            self.off[rows] = self._exact_rows(rows).float()
        self.diagonal = self.off.diagonal().clone()
        self.off.fill_diagonal_(0)

    def product(self, w: torch.Tensor) -> torch.Tensor:
        """C w of each row of `w [n_targets, n_train] float32`."""
        return torch.addcmul(fast(w, self.off), w, self.diagonal)

    def packed(self, members: torch.Tensor) -> torch.Tensor:
        """The blocks of C of each target's `members [n_targets, k]`, `[n_targets, k, k] float32`."""
        places = members[:, :, None] * len(self.off) + members[:, None, :]
        blocks = self.off.view(-1).index_select(0, places.view(-1)).view(places.shape)
        blocks.diagonal(dim1=1, dim2=2).copy_(self.diagonal[members])
        return blocks

    def exact(self, w: torch.Tensor) -> torch.Tensor:
        """C w of each row of `w [n_targets, n_train] float64`, in float64."""
        out = torch.zeros_like(w)
        for rows in _blocks(w.shape[1]):
            out.addmm_(w[:, rows], self._exact_rows(rows))
        return out

    def _exact_rows(self, rows: slice) -> torch.Tensor:
        taken = sum(a[:, rows].t() @ b for a, b in zip(self.left, self.right, strict=True))
        return (self.counts[rows].double() - taken) / self.n_models


class Rows:
    """C as centred masks.

    x         [n_train, n_models] float32, over the root of the number of models
    diagonal  [n_train] float32
    width     numbers beside its blocks that `packed` needs for a member
    """

    def __init__(self, totals: Totals, around: Totals, where: torch.device) -> None:
        self.width = totals.n_models
        self.masks, self.where = totals.pairs.masks, where
        self.n_train = totals.n_train
        self.means = torch.from_numpy(masks_around(totals, around)[0]).to(where)
        self.groups = torch.from_numpy(totals.pairs.groups).to(where)
        self.x = torch.empty(totals.n_train, totals.n_models, dtype=torch.float32, device=where)
        for models in _blocks(totals.n_models):
            self.x[:, models] = self._exact_rows(models).t().float()
        self.diagonal = self.x.square().sum(1)

    def product(self, w: torch.Tensor) -> torch.Tensor:
        """C w of each row of `w [n_targets, n_train] float32`."""
        return fast(fast(w, self.x), self.x.t())

    def packed(self, members: torch.Tensor) -> torch.Tensor:
        """The blocks of C of each target's `members [n_targets, k]`, `[n_targets, k, k] float32`."""
        columns = self.x[members]
        return torch.bmm(columns, columns.mT)

    def exact(self, w: torch.Tensor) -> torch.Tensor:
        """C w of each row of `w [n_targets, n_train] float64`, in float64."""
        out = torch.zeros_like(w)
        for models in _blocks(len(self.groups)):
            x = self._exact_rows(models)
            out.addmm_(w @ x.t(), x)
        return out

    def _exact_rows(self, models: slice) -> torch.Tensor:
        held = unpacked(self.masks[models], self.n_train, self.where).double()
        return (held - self.means[self.groups[models]]) / len(self.groups) ** 0.5


Operator = Dense | Rows


def operator(totals: Totals, around: Totals, where: torch.device) -> Operator:
    """C of the totals around the means of others, held in the way that the totals hold their pairs."""
    return (Rows if totals.pairs.counts is None else Dense)(totals, around, where)


def fast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The float32 product of two matrices, with inputs rounded to TF32 on a CUDA device that has it."""
    with rounding(True):
        return a @ b


@contextmanager
def rounding(allowed: bool) -> Iterator[None]:
    """Whether float32 products may be rounded to TF32, whatever the process had set, which is put back."""
    setting = torch.backends.cuda.matmul
    name, value = (
        ("fp32_precision", "tf32" if allowed else "ieee") if hasattr(setting, "fp32_precision") else ("allow_tf32", allowed)
    )
    before = getattr(setting, name)
    setattr(setting, name, value)
    try:
        yield
    finally:
        setattr(setting, name, before)


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, n, ROWS)]
