"""The tables of what is computed from datamodels: components, clusters, and interventions on components.

Part of the data dictionary in lake/tables.py.
"""

import pyarrow as pa

from lake.columns import FLOATS, INTEGERS, SPLIT, STUDY, identifier
from lake.schema import Column, Table

ANALYSES: tuple[Table, ...] = (
    Table(
        "components",
        "a principal component of what embeds the test targets of a study",
        (
            STUDY,
            Column("role", pa.string(), "`structure-` or `residual-`, and a word for what was asked and the fits"),
            Column(
                "embedding",
                pa.string(),
                "`weights`; last hidden `features` of a network trained on everything (else logits); `pixels`; `residual`: "
                "weights without their projection on another study's; `reverse`: the other's without that on these; `null`, "
                "`reverse-null`: of one half of either's models without that on the other half",
            ),
            identifier("component", "place by explained variance, from 0"),
            Column("explained", pa.float64(), "share of the embedding's variance along it", "fraction"),
            Column("test_score", FLOATS, "of every test target, by target_id; NULL where not kept", nullable=True),
            Column("train_loading", FLOATS, "of every training example, by train_id; NULL where not kept", nullable=True),
            Column("fit", pa.string(), "the fit whose weights embed"),
            Column("other_study", pa.string(), "of a residual: the study that it is compared with", nullable=True),
            Column("other_fit", pa.string(), "of a residual: that study's fit", nullable=True),
            Column(
                "own_explained",
                pa.float64(),
                "of a residual: variance along it of the weights that it is left of",
                "fraction",
                nullable=True,
            ),
            Column(
                "other_explained",
                pa.float64(),
                "of a residual: variance along it of the weights that were projected out",
                "fraction",
                nullable=True,
            ),
        ),
        ("role", "embedding", "component"),
        row_group=64,
    ),
    Table(
        "clusters",
        "an example in a clustering of a study's weights",
        (
            STUDY,
            Column("role", pa.string(), "`structure-` and a word for what was asked and the fit"),
            Column("within", pa.string(), "`all` examples were clustered together, or those of each `class` by themselves"),
            SPLIT,
            identifier("example_id", "position in its split"),
            identifier("cluster", "number of the cluster: by class, then the largest first"),
            Column(
                "similarity", pa.float32(), "cosine of its weights, its own left out, and the mean of the cluster's targets"
            ),
            Column("fit", pa.string(), "the fit whose weights were clustered"),
        ),
        ("role", "within", "split", "example_id"),
    ),
    Table(
        "interventions",
        "a set of training examples at an end of a component, or a random one, to be removed from all training examples",
        (
            STUDY,
            Column("role", pa.string(), "role of its retrains, `component-` and a word for the plan and fit"),
            identifier("removal_id", "mask_id of its retrains; 0 is nothing removed and has no row"),
            identifier("component", "the component; NULL for a random set", nullable=True),
            Column("side", pa.string(), "`high` or `low` loadings, or `random`"),
            identifier("k", "how many training examples were removed"),
            Column("removed", INTEGERS, "train_id of each"),
            Column("fit", pa.string(), "the fit whose weights give the component"),
        ),
        ("role", "removal_id"),
    ),
)
