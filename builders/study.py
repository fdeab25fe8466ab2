"""A study: one experiment, read from a TOML file, checked when it is made, and frozen.

From a study follow, purely, the partitions of every table. Its fingerprint covers what changes numbers (dataset, algorithm,
alpha, design, margin, seed, pool, held-out plan, partition size) and nothing else: not how many models, which device, how
many workers. More models means more partitions, with nothing done twice.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from builders.training.registry import Algorithm
from lake.errors import UsageError
from lake.fingerprint import canonical, fingerprint
from lake.partition import check_name

SHIPPED = Path(__file__).parent / "studies"
RULES = 1
"""Version of the rules that turn ids into masks, orders and weights (builders/counter.py and its users)."""

ESTIMATORS = ("lasso", "shared", "ridge", "difference", "banzhaf", "best")
DENSE = ("ridge", "difference", "banzhaf")
"""Estimators that give every training example a weight."""
REMOVALS = ("datamodel", "smoothed", "difference", "pixels", "features", "opponents", "unrelated")
"""What a counterfactual may remove (builders/orders.py)."""
_ESTIMATOR = f"^({'|'.join(ESTIMATORS)})$"
_METHOD = f"^({'|'.join(REMOVALS)}|scores:[a-z][a-z0-9-]*)$"
SEARCHED = ("datamodel", "smoothed", "features")
"""Orders in which a data support is searched unless a study says otherwise."""


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "names one twice")
    return values


Distinct = AfterValidator(_once)
"""Marks a list in which nothing may stand twice."""


class _Strict(BaseModel, frozen=True, extra="forbid", strict=True):
    def __hash__(self) -> int:
        return hash(canonical(self.model_dump(mode="json")))


class Planted(_Strict, frozen=True):
    """Faults put into the training split on purpose (builders/faults.py), so that what should find them can be judged."""

    labels: int = Field(0, ge=0, le=10_000_000)
    """Training examples whose label becomes another class."""
    copies: int = Field(0, ge=0, le=10_000_000)
    """Exact copies of training examples, added at the end."""
    near_copies: int = Field(0, ge=0, le=10_000_000)
    """Copies of training examples whose pixels changed a little, added at the end."""
    leaks: int = Field(0, ge=0, le=10_000_000)
    """Copies of test examples whose pixels changed a little, added to the training split at the end."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Which examples, which labels and which pixels."""


class Dataset(_Strict, frozen=True):
    """Which images, in which order."""

    source: str = "digits"
    """A shipped source, `hub:owner/name`, `torchvision:NAME`, `folder:path`, or `module:function` that returns
    builders.training.interface.Data (builders/datasets)."""
    side: int | None = Field(default=None, ge=4, le=1_024)
    """Crop and resize images of a hub:, torchvision: or folder: source to squares of so many pixels."""
    classes: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2), Distinct] | None = None
    """Keep the images of these classes only, which become 0, 1, ... in this order; all when left out."""
    n_train: int | None = Field(default=None, ge=2, le=10_000_000)
    """Keep the first so many training images (of the kept classes); all when left out."""
    n_test: int | None = Field(default=None, ge=1, le=10_000_000)
    """Keep the first so many test images (of the kept classes); all when left out."""
    planted: Planted | None = None
    """Faults to put into the training split then; none when left out."""
    keep: str | None = Field(default=None, pattern=r"\.(csv|parquet)$")
    """File with a column train_id, as the query `keep_list` writes it: leave all other training examples out, last of all."""

    @property
    def name(self) -> str:
        """The hive value of its examples: source and all that changes it, for example `cifar10-c0-c1-1000-400`."""
        form, _, rest = self.source.partition(":")
        source = f"{form}-{Path(rest).name}" if form == "folder" else self.source
        side = [f"{self.side}px"] if self.side else []
        train, test = self.n_train or ("all" if self.n_test else None), self.n_test
        planted = f"planted-{fingerprint(self.planted.model_dump(mode='json'))[:8]}" if self.planted else None
        kept = f"keep-{_words(Path(self.keep).stem)}" if self.keep else None
        parts = (_words(source), *side, *(f"c{c}" for c in self.classes or ()), train, test, planted, kept)
        return "-".join(str(part) for part in parts if part)


class Removals(_Strict, frozen=True):
    """Counterfactuals: sets to take away from the whole training set, and how often to train without them."""

    targets: int = Field(default=0, ge=0, le=1_000_000)
    """Test targets to check, chosen by seed; 0: none."""
    sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1), Distinct] = (5, 10, 20, 40)
    """How many training examples to remove."""
    methods: Annotated[tuple[Annotated[str, Field(pattern=_METHOD)], ...], Distinct] = REMOVALS
    """Which to remove, beside random ones of the same number (builders/orders.py); `scores:NAME`: by imported scores."""
    repeats: int = Field(default=3, ge=1, le=1_000)
    """Coupled models trained without each set of the datamodel's, and on everything; sets of other methods have one."""
    transfer: tuple[Algorithm, ...] = ()
    """Other learning algorithms to retrain with on the same sets."""


class Support(_Strict, frozen=True):
    """Data support: the smallest set whose removal, or relabelling, flips a target (builders/supports.py)."""

    targets: int = Field(default=0, ge=0, le=1_000_000)
    """Test targets to search for, chosen by seed as for removals; 0: none."""
    methods: Annotated[tuple[Annotated[str, Field(pattern=_METHOD)], ...], Field(min_length=1), Distinct] = SEARCHED
    """Orders in which examples are taken (builders/orders.py)."""
    repeats: int = Field(default=2, ge=1, le=1_000)
    """Coupled models that try a set; it flips the target when their mean margin is below 0."""
    confirmations: int = Field(default=4, ge=1, le=1_000)
    """Further ones that confirm the smallest set found."""
    most: float = Field(default=0.25, gt=0, lt=1)
    """Largest set that is tried, as a share of the training examples."""


class Structure(_Strict, frozen=True):
    """Structure of the weights: components, clusters (builders/structure.py), and what removals along components do."""

    components: int = Field(default=0, ge=0, le=1_000)
    """Principal components to keep; 0: no structure is looked for."""
    clusters: int = Field(default=20, ge=2, le=10_000)
    """Spectral clusters of all test targets together; training examples join the nearest."""
    subpopulations: int = Field(default=3, ge=2, le=1_000)
    """Spectral clusters of the targets of each class."""
    interventions: int = Field(default=0, ge=0, le=1_000)
    """Components whose either end is removed from the training set to train again (builders/interventions.py)."""
    size: int = Field(default=40, ge=1)
    """Training examples of an end."""
    repeats: int = Field(default=4, ge=1, le=1_000)
    """Coupled models trained without each set, and on everything."""
    compare: Annotated[tuple[str, ...], Distinct] = ()
    """Studies (as STUDY= takes them) of another learning algorithm, to be compared with (builders/comparisons.py)."""

    @model_validator(mode="after")
    def _only_kept_components(self) -> "Structure":
        if self.interventions > self.components:
            raise ValueError(
                f"structure.interventions {self.interventions} is above structure.components {self.components}: "
                "only components that are kept have ends"
            )
        if self.compare and not self.components:
            raise ValueError("structure.compare needs structure.components, how many components to keep")
        return self


class Study(_Strict, frozen=True):
    """One experiment. Every field names its meaning and unit; an illegal mix raises UsageError when it is made."""

    name: str
    """Name of the study, the hive value of its partitions."""
    dataset: Dataset = Dataset()
    """Which images."""
    algorithm: Algorithm
    """Learning algorithm and its options (builders/training/registry.py)."""
    alpha: float = Field(0.5, gt=0, lt=1)
    """Share of training examples in a subset."""
    fit_alphas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Shares that fit masks take in turn, for effects averaged over them (AME); alpha alone when left out."""
    design: Literal["fixed", "bernoulli"] = "fixed"
    """`fixed`: every subset has exactly round(alpha n) examples (the paper); `bernoulli`: each example by itself."""
    margin: Literal["max", "logsumexp"] = "max"
    """`max`: correct logit minus the largest other (the paper); `logsumexp`: log-odds of the correct class (TRAK)."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Root of all randomness; studies with one seed and one n_train share their masks."""
    models: int = Field(5_000, ge=1, le=10_000_000)
    """Models to fit datamodels on; whole partitions are trained. Not part of the fingerprint."""
    pool: int = Field(32, ge=1, le=100_000)
    """Initialisations that fit models share, init_id = model_id mod pool (blocking); targets are centred per initialisation."""
    heldout_masks: int = Field(64, ge=2, le=100_000)
    """Masks kept for judging, never fitted on."""
    heldout_repeats: int = Field(8, ge=1, le=1_000)
    """Models trained on each held-out mask, with initialisations outside the pool."""
    partition_models: int = Field(256, ge=1, le=65_536)
    """Models in a partition: the unit that a lost session loses at most."""
    estimators: Annotated[tuple[Annotated[str, Field(pattern=_ESTIMATOR)], ...], Field(min_length=1), Distinct] = ESTIMATORS
    """Estimators to fit. Not part of the fingerprint."""
    curve: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Distinct] = (250, 500, 1_000, 2_000)
    """Smaller numbers of models to fit on as well, for the learning curve. Not part of the fingerprint."""
    removals: Removals = Removals()
    """Which counterfactuals to check by retraining. Not part of the fingerprint."""
    support: Support = Support()
    """Which data supports to search by retraining. Not part of the fingerprint."""
    structure: Structure = Structure()
    """Which structure of the weights to look for. Not part of the fingerprint."""

    @field_validator("name")
    @classmethod
    def _name_is_allowed(cls, name: str) -> str:
        return check_name(name, "study name")

    @model_validator(mode="after")
    def _repeats_fill_partitions(self) -> "Study":
        if self.partition_models % self.heldout_repeats:
            raise ValueError(
                f"partition_models {self.partition_models} is not a multiple of heldout_repeats {self.heldout_repeats}: "
                "a held-out partition holds all repeats of its masks"
            )
        return self

    @model_validator(mode="after")
    def _removals_can_be_planned(self) -> "Study":
        if self.removals.targets and self.removals.repeats > self.partition_models:
            raise ValueError(
                f"removals.repeats {self.removals.repeats} is above partition_models {self.partition_models}: "
                "a partition holds all models of a removal"
            )
        for name, asked in (("removals", self.removals), ("support", self.support)):
            if asked.targets and "difference" in asked.methods and "difference" not in self.estimators:
                raise ValueError(f"{name}.methods 'difference' needs 'difference' among the estimators")
        return self

    def identity(self, digest: str) -> dict[str, Any]:
        """The fields that change numbers, with the dataset's digest: what the fingerprint is made of."""
        kept = ("alpha", "design", "margin", "seed", "pool", "heldout_masks", "heldout_repeats", "partition_models")
        return {
            "dataset": {"name": self.dataset.name, "digest": digest},
            "algorithm": self.algorithm.identity(),
            "rules": RULES,
            **{name: getattr(self, name) for name in kept},
            **({"fit_alphas": self.fit_alphas} if self.fit_alphas else {}),
        }

    def fingerprint(self, digest: str) -> str:
        """Fingerprint of the study on the dataset with this digest."""
        return fingerprint(self.identity(digest))


def load(name_or_path: str, **overrides: Any) -> Study:
    """The shipped study of that name, or a TOML file; `overrides` replace top-level fields. UsageError says what is wrong."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = SHIPPED / f"{name_or_path}.toml"
        if name_or_path not in shipped():
            raise UsageError(f"no study {name_or_path!r}: shipped are {', '.join(shipped())}; or give the path of a .toml file")
    try:
        fields = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}: give a shipped study ({', '.join(shipped())}) or the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: not a readable TOML file ({error})") from error
    fields |= {key: value for key, value in overrides.items() if value is not None}
    return parse(fields, str(path))


def parse(fields: dict[str, Any], origin: str) -> Study:
    """A study from plain values; UsageError with one line a wrong field: what was got, what is allowed."""
    try:
        return Study.model_validate(_tuples(fields))
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise UsageError(f"{origin}: " + "; ".join(lines)) from error
    except ValueError as error:
        raise UsageError(f"{origin}: {error}") from error


def shipped() -> list[str]:
    """Names of the studies that come with the software."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def _tuples(value: Any) -> Any:
    """TOML arrays as tuples, which strict frozen models ask for."""
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def _words(text: str) -> str:
    """Lower-case words joined by `-`."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def _explain(item: Any) -> str:
    field = ".".join(str(part) for part in item["loc"]) or "study"
    if item["type"] == "extra_forbidden":
        parts = (Study, Dataset, Planted, Removals, Support, Structure)
        near = difflib.get_close_matches(str(item["loc"][-1]), [name for part in parts for name in part.model_fields], 1)
        return f"{field} is not a field of a study" + (f"; did you mean {near[0]}?" if near else "")
    if item["type"] == "value_error":  # a rule of ours, which names the field and the value itself
        return item["msg"].removeprefix("Value error, ")
    got = "" if item["type"] == "missing" else f", got {item['input']!r}"
    return f"{field}: {item['msg']}{got}"
