"""The compiled steps of PatchNet: forward, gradient and SGD of LANES networks, one a SIMD lane.

All arrays are flat float32 in which LANES consecutive numbers belong to one scalar of the networks. `layers` [3, n_layers]
holds rows an example, inputs and outputs of each layer (`builders.training.patchnet.Network`).
"""

import numpy as np
from numba import njit

from builders.training.simd import LANES, exp, product

ROWS = 16
"""Rows that a weight gradient sums at a time: their deltas stay in the first cache, which is worth 1.3 to 1.5 times."""


@njit(nogil=True, cache=True)
def _forward(acts, layers, weights, batch):
    """Fill `acts` layer after layer from its first batch * rows[0] * fans[0] vectors."""
    a, w = 0, 0
    for i in range(layers.shape[1]):
        rows, fan, width = batch * layers[0, i], layers[1, i], layers[2, i]
        c = a + rows * fan * LANES
        product(
            acts,
            a,
            fan * LANES,
            LANES,
            weights,
            w,
            width * LANES,
            LANES,
            acts,
            c,
            width * LANES,
            LANES,
            rows,
            width,
            fan,
            False,
        )
        w += fan * width * LANES
        last = i + 1 == layers.shape[1]
        bias, span = weights[w : w + width * LANES], width * LANES
        for r in range(rows):
            row = acts[c + r * span : c + (r + 1) * span]
            if last:
                for q in range(span):
                    row[q] += bias[q]
            else:
                for q in range(span):
                    value = row[q] + bias[q]
                    row[q] = np.float32(0) if value < 0 else value
        w += width * LANES
        a = c


@njit(nogil=True, cache=True)
def _softmax_gradient(logits, labels, order, at, batch, classes, smoothing, out):
    """Gradient of the mean smoothed cross-entropy over the batch: (softmax - target) / batch, into `out`."""
    low, scale = smoothing / np.float32(classes), np.float32(1) / np.float32(batch)
    top, total = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for b in range(batch):
        base = b * classes * LANES
        for q in range(LANES):
            top[q], total[q] = logits[base + q], np.float32(0)
        for c in range(1, classes):
            for q in range(LANES):
                top[q] = max(top[q], logits[base + c * LANES + q])
        for c in range(classes):
            for q in range(LANES):
                p = exp(logits[base + c * LANES + q] - top[q])
                out[base + c * LANES + q] = p
                total[q] += p
        for c in range(classes):
            for q in range(LANES):
                out[base + c * LANES + q] = (out[base + c * LANES + q] / total[q] - low) * scale
        for q in range(LANES):
            out[base + labels[order[q, at + b]] * LANES + q] -= (np.float32(1) - smoothing) * scale


@njit(nogil=True, cache=True)
def _backward(acts, deltas, layers, weights, gradient, batch):
    """Fill `gradient` from `deltas`, whose last layer is set; deltas of earlier layers are computed on the way."""
    w, c = weights.size, acts.size
    for i in range(layers.shape[1] - 1, -1, -1):
        rows, fan, width = batch * layers[0, i], layers[1, i], layers[2, i]
        span = width * LANES
        w, c = w - (fan + 1) * span, c - rows * span
        a = c - rows * fan * LANES
        for r in range(0, rows, ROWS):
            some, x, d = min(ROWS, rows - r), a + r * fan * LANES, c + r * span
            product(acts, x, LANES, fan * LANES, deltas, d, span, LANES, gradient, w, span, LANES, fan, width, some, r > 0)
        bias = gradient[w + fan * span : w + (fan + 1) * span]
        bias[:] = np.float32(0)
        for r in range(rows):
            row = deltas[c + r * span : c + (r + 1) * span]
            for q in range(span):
                bias[q] += row[q]
        if i > 0:
            product(deltas, c, span, LANES, weights, w, LANES, span, deltas, a, fan * LANES, LANES, rows, fan, width, False)
            delta, value = deltas[a:c], acts[a:c]
            for q in range(delta.size):  # a product, not a branch: signs are unpredictable, and a branch costs 30 times more
                delta[q] *= np.float32(value[q] > 0)


@njit(nogil=True, cache=True)
def _gather(table, order, at, batch, acts):
    """Put the rows of the batch's examples into the first layer's input, one lane a model."""
    width = table.shape[1]
    for b in range(batch):
        rows = order[:, at + b]
        for q in range(LANES):
            row, base = table[rows[q]], b * width * LANES + q
            for d in range(width):
                acts[base + d * LANES] = row[d]


@njit(nogil=True, cache=True)
def descend(table, labels, layers, order, rates, weights, batch, momentum, decay, smoothing, acts, deltas, gradient, velocity):
    """Train LANES models in place: `weights` [n_weights * LANES]; the four scratch arrays are overwritten."""
    velocity[:] = np.float32(0)
    classes = layers[2, -1]
    out = acts.size - batch * classes * LANES
    for step in range(rates.shape[0]):
        _gather(table, order, step * batch, batch, acts)
        _forward(acts, layers, weights, batch)
        _softmax_gradient(acts[out:], labels, order, step * batch, batch, classes, smoothing, deltas[out:])
        _backward(acts, deltas, layers, weights, gradient, batch)
        rate = rates[step]
        for p in range(0, weights.size, LANES):
            for q in range(LANES):
                g = gradient[p + q] + decay * weights[p + q]
                v = momentum * velocity[p + q] + g
                velocity[p + q] = v
                weights[p + q] -= rate[q] * (g + momentum * v)


@njit(nogil=True, cache=True)
def predict(table, layers, weights, batch, acts, logits):
    """Logits [LANES, n, classes] of every row of `table`."""
    classes, n = layers[2, -1], table.shape[0]
    order = np.empty((LANES, batch), np.int32)
    for first in range(0, n, batch):
        order[:] = np.minimum(np.arange(first, first + batch), n - 1).astype(np.int32)
        _gather(table, order, 0, batch, acts)
        _forward(acts, layers, weights, batch)
        out = acts.size - batch * classes * LANES
        for b in range(min(batch, n - first)):
            for c in range(classes):
                for q in range(LANES):
                    logits[q, first + b, c] = acts[out + (b * classes + c) * LANES + q]
