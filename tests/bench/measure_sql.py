"""SQL against numpy on the same files: the LDS of every fit with its interval, and the influence of every training example."""

import numpy as np
from bench_lake import digits_lake
from scipy.stats import rankdata
from timing import Row, faster, in_turns

from lake.catalog import connect
from lake.store import Lake
from queries.run import find, run

RESAMPLES = 200


def lds_sql_vs_numpy() -> Row:
    """Query `lds` on the test split against numpy: ranks, ceiling, pooled correlations and the same number of resamples."""
    lake = digits_lake()
    connection, query = connect(lake.root), find("lds")
    ours, peer = in_turns(lambda: run(connection, query, {"split": "test"}), lambda: _lds(lake), rounds=3)
    rows = {row["fit"]: row["lds_repeats"] for row in run(connection, query, {"split": "test"}).to_pylist()}
    apart = max(abs(rows[fit] - value) for fit, value in _lds(lake).items())
    return faster(ours, peer, "numpy and scipy", "CPU seconds", note=f"{len(rows)} fits; largest difference {apart:.1e}")


def influence_sql_vs_numpy() -> Row:
    """Query `influence` for one target against numpy: difference of means over all training examples."""
    lake = digits_lake()
    connection, query = connect(lake.root), find("influence")
    ours, peer = in_turns(lambda: run(connection, query, {"target_id": "3"}), lambda: _influence(lake, 3), rounds=5)
    rows = run(connection, query, {"target_id": "3"}).to_pydict()
    apart = np.abs(np.array(rows["influence"]) - _influence(lake, 3)[rows["train_id"]]).max()
    return faster(ours, peer, "numpy", "CPU seconds", note=f"largest difference {apart:.1e}")


def _margins(lake: Lake, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Test margins [n_models, n_targets] float32 and mask ids of a role."""
    rows = lake.scan((p for p in lake.present("margins") if p.role == role), ["mask_id", "test_margin"])
    flat = rows["test_margin"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(rows.num_rows, -1).astype(np.float32), rows["mask_id"].to_numpy()


def _influence(lake: Lake, target: int) -> np.ndarray:
    masks = lake.scan((p for p in lake.present("masks") if p.role == "fit"), ["mask"])["mask"].to_pylist()
    bits = np.unpackbits(np.frombuffer(b"".join(masks), np.uint8).reshape(len(masks), -1), axis=1).astype(np.float32)
    y = _margins(lake, "fit")[0][:, target]
    n_in = bits.sum(0)
    return (y @ bits) / n_in - (y @ (1 - bits)) / (len(y) - n_in)


def _lds(lake: Lake) -> dict[str, float]:
    """LDS by fit, with everything else that the query returns computed on the way."""
    y, mask_ids = _margins(lake, "heldout")
    n_masks, r = len(np.unique(mask_ids)), len(mask_ids) // len(np.unique(mask_ids))
    runs = y.reshape(n_masks, r, -1)
    mean, within = runs.mean(1), runs.var(1, ddof=1).mean(0)
    signal = np.maximum(mean.var(0, ddof=1) - within / r, 0)
    np.sqrt(signal / (signal + within / r)).mean()
    spearman(runs[:, ::2].mean(1), runs[:, 1::2].mean(1))
    rng, found = np.random.default_rng(0), {}
    newest = max(p.index for p in lake.present("predictions"))
    for partition in (p for p in lake.present("predictions") if p.index == newest):
        rows = lake.read(partition)
        rows = rows.filter(np.array(rows["split"].to_pylist()) == "test")
        predicted = np.stack([np.asarray(v, np.float32) for v in rows["predicted_margin"].to_pylist()])
        spearman(np.repeat(predicted, r, 0), y)
        spearman(predicted.reshape(-1, 1), mean.reshape(-1, 1))
        found[partition.name] = spearman(predicted, mean).mean()
        _bootstrap(predicted, mean, rng)
    return found


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman of each column [n_columns]; 0 where one side is constant."""
    a, b = (rankdata(x, axis=0) - (len(x) + 1) / 2 for x in (a, b))
    scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return (a * b).sum(0) / np.where(scale > 0, scale, np.inf)


def _bootstrap(predicted: np.ndarray, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    a, b = (rankdata(x, axis=0) for x in (predicted, mean))
    counts = rng.poisson(1, (RESAMPLES, len(a)))
    n = counts.sum(1, keepdims=True)
    moments = [counts @ x / n for x in (a, b, a * a, b * b, a * b)]
    r = (moments[4] - moments[0] * moments[1]) / np.sqrt((moments[2] - moments[0] ** 2) * (moments[3] - moments[1] ** 2))
    targets = rng.poisson(1, r.shape)
    return np.quantile((r * targets).sum(1) / targets.sum(1), (0.025, 0.975))


BENCHES = {"lds_sql_vs_numpy": lds_sql_vs_numpy, "influence_sql_vs_numpy": influence_sql_vs_numpy}
