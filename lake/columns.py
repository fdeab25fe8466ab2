"""Columns and types that several tables share."""

import math

import pyarrow as pa

from lake.schema import Column

DATASET = Column("dataset_id", pa.string(), "name of the dataset")
STUDY = Column("study_id", pa.string(), "name of the study")
FIT = Column("fit", pa.string(), "name of the fit: estimator and number of models, `lasso-05000`")
SPLIT = Column("split", pa.string(), "`test` or `train`: which examples the targets are", words=("test", "train"))

HALVES = pa.list_(pa.field("element", pa.float16(), nullable=False))
INTEGERS = pa.list_(pa.field("element", pa.int32(), nullable=False))
FLOATS = pa.list_(pa.field("element", pa.float32(), nullable=False))


def identifier(name: str, meaning: str, nullable: bool = False) -> Column:
    """A column of ids: int32 from 0, stored by differences."""
    return Column(name, pa.int32(), meaning, nullable=nullable, encoding="DELTA_BINARY_PACKED", span=(0, math.inf))
