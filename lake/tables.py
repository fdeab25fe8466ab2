"""The tables of a lake: one schema each, with the meaning and unit of every column.

This module is the data dictionary. The README, the dataset card, the views' comments and the checks are made from it, so a
new table or column is declared here (what is computed from weights in lake/analyses.py, what is about images in
lake/images.py) and nowhere else. Ids are positions from 0; a value that does not exist is NULL, never NaN.
"""

import pyarrow as pa

from lake.analyses import ANALYSES
from lake.columns import FIT, FLOATS, HALVES, INTEGERS, SPLIT, STUDY, identifier
from lake.images import EXAMPLES, NEIGHBOURS, PLANTED
from lake.schema import Column, Table

FORMAT = 1
"""Version of the file format; a lake written by a newer one is refused."""

_TARGET = identifier("target_id", "position of the target in its split")

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        EXAMPLES,
        Table(
            "masks",
            "a random subset of the training set",
            (
                STUDY,
                Column(
                    "role",
                    pa.string(),
                    "`fit` (fitted on), `heldout` (judged on), `removal-...` or `component-...` (without a set)",
                ),
                identifier("mask_id", "position of the mask in its role"),
                Column("alpha", pa.float64(), "share of training examples included", "fraction", span=(0, 1)),
                Column(
                    "design",
                    pa.string(),
                    "`fixed` (exact size) or `bernoulli` (each example by itself)",
                    words=("fixed", "bernoulli"),
                ),
                Column(
                    "mask",
                    pa.binary(),
                    "one bit a training example, first example in the highest bit: `get_bit(mask::BIT, train_id)`",
                    encoding="DELTA_LENGTH_BYTE_ARRAY",
                ),
            ),
            ("role", "mask_id"),
            row_group=256,
        ),
        Table(
            "margins",
            "a model trained on one mask",
            (
                STUDY,
                Column("role", pa.string(), "role of its mask"),
                identifier("model_id", "position of the model in its role"),
                identifier("mask_id", "the mask it was trained on"),
                identifier("init_id", "which initial weights it started from"),
                identifier("repeat", "how many models of the same mask come before it"),
                Column(
                    "status",
                    pa.string(),
                    "`ok`, `diverged` (non-finite output) or `failed` (raised); NULL margins unless `ok`",
                    words=("ok", "diverged", "failed"),
                ),
                Column(
                    "test_accuracy",
                    pa.float32(),
                    "share of test examples it classifies right",
                    "fraction",
                    nullable=True,
                    span=(0, 1),
                ),
                Column(
                    "train_accuracy",
                    pa.float32(),
                    "share of its own training subset it classifies right",
                    "fraction",
                    nullable=True,
                    span=(0, 1),
                ),
                Column(
                    "test_margin",
                    HALVES,
                    "correct-class margin on every test example, by target_id",
                    "logit",
                    nullable=True,
                ),
                Column(
                    "train_margin",
                    HALVES,
                    "correct-class margin on every training example, by train_id",
                    "logit",
                    nullable=True,
                ),
            ),
            ("role", "model_id"),
            row_group=64,
        ),
        Table(
            "fits",
            "a fitted datamodel of one target",
            (
                STUDY,
                FIT,
                Column(
                    "estimator",
                    pa.string(),
                    "how it was fitted: `lasso`, `shared`, `ridge`, ...; or the method of imported `scores`",
                ),
                SPLIT,
                _TARGET,
                Column(
                    "lam",
                    pa.float64(),
                    "penalty chosen on held-out fit models, on raw 0/1 columns in the 1/(2m) form",
                    nullable=True,
                ),
                Column("bias", pa.float64(), "predicted margin of the empty subset", "logit"),
                Column("mean_margin", pa.float64(), "mean margin over the fit models: the bias-only prediction", "logit"),
                identifier("n_models", "how many models it was fitted on"),
                identifier("n_nonzero", "how many training examples have a weight"),
                Column(
                    "validation_r",
                    pa.float32(),
                    "correlation with held-out fit models; NULL for a constant prediction",
                    nullable=True,
                ),
                Column(
                    "kkt",
                    pa.float64(),
                    "largest optimality violation as a share of lambda_max, in float64",
                    "fraction",
                    nullable=True,
                ),
                Column(
                    "duality_gap",
                    pa.float64(),
                    "duality gap as a share of the null objective, in float64",
                    "fraction",
                    nullable=True,
                ),
                Column("converged", pa.bool_(), "whether both certificates are within the stated tolerance"),
            ),
            ("fit", "split", "target_id"),
        ),
        Table(
            "weights",
            "a nonzero datamodel weight",
            (
                STUDY,
                FIT,
                SPLIT,
                _TARGET,
                identifier("train_id", "position of the training example"),
                Column(
                    "weight",
                    pa.float32(),
                    "change of the margin when the example is included",
                    "logit",
                    encoding="BYTE_STREAM_SPLIT",
                ),
            ),
            ("fit", "split", "target_id", "train_id"),
        ),
        Table(
            "predictions",
            "a held-out mask as a fit sees it",
            (
                STUDY,
                FIT,
                SPLIT,
                identifier("mask_id", "the held-out mask"),
                Column(
                    "predicted_margin",
                    FLOATS,
                    "bias + sum of included weights for every target, by target_id",
                    "logit",
                ),
            ),
            ("fit", "split", "mask_id"),
            row_group=256,
        ),
        Table(
            "removals",
            "a predicted counterfactual: a target whose margin should change when a set is removed from all training examples",
            (
                STUDY,
                Column(
                    "role", pa.string(), "role of its retrains, `removal-` and a word for the plan's targets, sizes and fit"
                ),
                identifier(
                    "removal_id", "mask_id of its retrains, which targets share when the set is random; 0 is nothing removed"
                ),
                identifier("target_id", "position of the test target"),
                Column(
                    "method",
                    pa.string(),
                    "what was removed: `random`, or the first by `datamodel`, `difference`, `pixels`, `features`, ...",
                ),
                identifier("k", "how many training examples were removed"),
                Column("removed", INTEGERS, "train_id of each"),
                Column("predicted_change", pa.float32(), "minus the sum of their weights", "logit"),
                Column("curved_change", pa.float32(), "the same through the parabola from predicted to actual margin", "logit"),
                Column("algorithm", pa.string(), "learning algorithm of its retrains; NULL: the study's own", nullable=True),
                Column("fit", pa.string(), "the fit that predicts"),
            ),
            ("role", "removal_id", "target_id"),
        ),
        Table(
            "supports",
            "a set of training examples that was tried: does a target flip without it, or with it relabelled",
            (
                STUDY,
                Column("role", pa.string(), "`support-` and a word for what was asked and the fit"),
                identifier("target_id", "position of the test target"),
                Column("method", pa.string(), "whose order the examples were taken in: `datamodel`, `features`, ..."),
                Column(
                    "change",
                    pa.string(),
                    "`removal` or `relabelling`: what was done to them",
                    words=("removal", "relabelling"),
                ),
                identifier("step", "place in the search; 0 is nothing changed"),
                identifier("size", "how many training examples were changed"),
                Column("confirming", pa.bool_(), "whether its models took no part in the search before"),
                Column("changed", INTEGERS, "train_id of each"),
                identifier("label", "class that they got; NULL for a removal", nullable=True),
                Column(
                    "predicted_margin", pa.float32(), "what the fit predicts; NULL for a relabelling", "logit", nullable=True
                ),
                Column("margins", HALVES, "of the target, one a coupled model", "logit"),
                Column("flips", pa.bool_(), "whether their mean is below 0"),
                Column("fit", pa.string(), "the fit that predicts"),
            ),
            ("role", "target_id", "method", "change", "step"),
        ),
        *ANALYSES,
        Table(
            "scores",
            "what another tool says that a training example does to a target",
            (
                STUDY,
                Column("method", pa.string(), "name of the tool or method, such as `trak`"),
                SPLIT,
                _TARGET,
                identifier("train_id", "position of the training example"),
                Column(
                    "score",
                    pa.float32(),
                    "in the tool's own unit; positive: including the example raises the target's margin",
                    encoding="BYTE_STREAM_SPLIT",
                ),
            ),
            ("method", "split", "target_id", "train_id"),
        ),
        NEIGHBOURS,
        PLANTED,
    )
}
