"""Studies: read strictly, refused in one clear line, and named by a fingerprint of what changes numbers and nothing else."""

import ast
import inspect
import pickle

import pytest

from builders import datasets, study
from builders.study import Study
from builders.training import recipes, registry
from lake.errors import UsageError

DIGITS = study.SHIPPED / "digits.toml"


def refusal(**changes) -> str:
    with pytest.raises(UsageError) as error:
        study.parse({"name": "mine", "algorithm": {"name": "patchnet"}, **changes}, "mine.toml")
    assert error.value.exit_code == 2
    line = str(error.value)
    assert line.startswith("mine.toml: ")
    assert "\n" not in line
    return line.removeprefix("mine.toml: ")


@pytest.mark.parametrize("name", study.shipped())
def test_a_shipped_study_loads_under_its_own_name(name):
    assert study.load(name).name == name


@pytest.mark.parametrize("name", study.shipped())
def test_a_shipped_study_opens_with_cost_result_and_command(name):
    lines = (study.SHIPPED / f"{name}.toml").read_text().splitlines()
    assert lines[0].startswith("# ")
    for word in ("# Cost:", "# Expected:", "# Command:"):
        assert any(line.startswith(word) for line in lines)


@pytest.mark.parametrize("module", [study, registry, recipes], ids=lambda m: m.__name__)
def test_every_field_has_its_meaning_below_it(module):
    models = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    fields = 0
    for model in models:
        for field, below in zip(model.body, [*model.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                fields += 1
                meaning = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
                assert isinstance(meaning, str), f"{model.name}.{field.target.id} has no meaning below it"
                assert meaning.endswith(".")
    assert fields >= 15


def test_defaults_are_the_digits_study_in_full():
    shipped = study.load("digits")
    shipped = shipped.model_copy(
        update={"removals": study.Removals(), "support": study.Support(), "structure": study.Structure()}
    )
    bare = Study.model_validate({"name": "digits", "algorithm": {"name": "patchnet"}})
    assert bare == shipped
    assert hash(bare) == hash(shipped)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"alhpa": 0.5}, "alhpa is not a field of a study; did you mean alpha?"),
        ({"heldout_repeat": 8}, "heldout_repeat is not a field of a study; did you mean heldout_repeats?"),
        ({"dataset": {"n_trian": 200}}, "dataset.n_trian is not a field of a study; did you mean n_train?"),
        ({"zzz": 1}, "zzz is not a field of a study"),
        ({"algorithm": {"name": "patchnet", "epohcs": 3}}, "has no option epohcs; did you mean epochs?"),
        ({"algorithm": {"name": "patchnet", "options": {"epochs": 3}}}, "has no option options"),
        ({"algorithm": {"name": "logistic", "c": 1.0}}, "algorithm logistic has no option c; it has C, max_iter"),
    ],
)
def test_a_misspelt_key_is_answered_with_the_right_one(changes, wanted):
    assert wanted in refusal(**changes)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("alpha", 0, "greater than 0, got 0"),
        ("alpha", 1, "less than 1, got 1"),
        ("alpha", -1, "greater than 0, got -1"),
        ("alpha", float("nan"), "got nan"),
        ("alpha", 1e400, "less than 1, got inf"),
        ("alpha", "0.5", "valid number, got '0.5'"),
        ("alpha", True, "valid number, got True"),
        ("models", 0, "greater than or equal to 1, got 0"),
        ("models", -5, "greater than or equal to 1, got -5"),
        ("models", 10**12, "less than or equal to 10000000, got 1000000000000"),
        ("models", 5e3, "valid integer, got 5000.0"),
        ("seed", 2**63, "less than 9223372036854775808"),
        ("seed", 2**64 + 1, "less than 9223372036854775808"),
        ("seed", -1, "greater than or equal to 0, got -1"),
        ("pool", 0, "greater than or equal to 1, got 0"),
        ("heldout_masks", 1, "greater than or equal to 2, got 1"),
        ("design", "fix", "'fixed' or 'bernoulli', got 'fix'"),
        ("margin", "min", "'max' or 'logsumexp', got 'min'"),
        ("curve", [1], "greater than or equal to 2, got 1"),
        ("estimators", ["laso"], "got 'laso'"),
        ("estimators", [], "at least 1 item"),
        ("estimators", ["ridge", "lasso", "ridge"], "estimators: names one twice, got ('ridge', 'lasso', 'ridge')"),
        ("curve", [100, 100], "curve: names one twice"),
        ("removals", {"sizes": [5, 5]}, "removals.sizes: names one twice, got (5, 5)"),
        ("removals", {"methods": ["pixels", "pixels"]}, "removals.methods: names one twice"),
        ("support", {"methods": ["pixels", "pixels"]}, "support.methods: names one twice"),
        ("structure", {"components": 1, "compare": ["digits", "digits"]}, "structure.compare: names one twice"),
        ("dataset", "digits", "got 'digits'"),
        ("name", "test", "holds the word 'test'"),
        ("name", "UPPER", "'UPPER' is not allowed"),
        ("name", "../x", "'../x' is not allowed"),
        ("name", "a" * 300, "use 1 to 64 of a-z"),
        ("name", "", "'' is not allowed"),
        ("name", "a\nb", "is not allowed"),
        ("name", 3, "valid string, got 3"),
    ],
)
@pytest.mark.row("B14")
def test_a_value_out_of_range_is_refused_with_what_is_allowed(field, value, wanted):
    line = refusal(**{field: value})
    assert wanted in line
    assert field in line


@pytest.mark.parametrize(
    ("algorithm", "wanted"),
    [
        ({"name": "nope"}, f"algorithm name 'nope': choose one of {', '.join(registry.MODULES)} or a `module:object` of yours"),
        ({}, "algorithm name None: choose one of"),
        ("patchnet", "algorithm: "),
        ({"name": "patchnet", "epochs": 0}, "algorithm.epochs: Input should be greater than or equal to 1, got 0"),
        ({"name": "patchnet", "epochs": "3"}, "algorithm.epochs: Input should be a valid integer, got '3'"),
        ({"name": "sklearn", "estimator": "GaussianNB"}, "algorithm.estimator: "),
    ],
)
def test_a_bad_algorithm_is_refused(algorithm, wanted):
    assert wanted in refusal(algorithm=algorithm)


def test_an_illegal_mix_names_both_fields_and_nothing_else():
    line = refusal(partition_models=100, heldout_repeats=8)
    assert line.startswith("partition_models 100 is not a multiple of heldout_repeats 8")
    assert "got {" not in line


def test_every_wrong_field_is_named_at_once():
    line = refusal(alpha=2, models=0, sede=1)
    assert all(field in line for field in ("alpha", "models", "sede"))


@pytest.mark.parametrize("missing", ["name", "algorithm"])
def test_a_missing_field_is_named(missing):
    fields = {"name": "mine", "algorithm": {"name": "patchnet"}}
    del fields[missing]
    with pytest.raises(UsageError, match=f"^mine.toml: {missing}: Field required$"):
        study.parse(fields, "mine.toml")


def test_a_file_that_is_no_study_is_refused_in_one_line(tmp_path):
    (tmp_path / "not.toml").write_text("name = = 3")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "empty.toml").write_text("")
    for path, wanted in {
        tmp_path / "not.toml": "not a readable TOML file",
        tmp_path / "binary.toml": "not a readable TOML file",
        tmp_path / "folder.toml": "not a readable TOML file",
        tmp_path / "empty.toml": "name: Field required",
        tmp_path / "missing.toml": "no file",
        tmp_path / f"{'a' * 300}.toml": "not a readable TOML file",
        tmp_path: "no study",
        "nope": f"no study 'nope': shipped are {', '.join(study.shipped())}; or give the path of a .toml file",
        "": "no study ''",
        "../studies/tiny": "no study '../studies/tiny'",
        "a" * 300: "no study",
    }.items():
        with pytest.raises(UsageError) as error:
            study.load(str(path))
        assert wanted in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_a_path_and_overrides_are_taken(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(DIGITS.read_text().replace('name = "digits"', 'name = "mine"'))
    assert study.load(str(path)).models == 5000
    assert study.load(str(path), models=640).models == 640
    assert study.load(str(path), models=None).models == 5000
    with pytest.raises(UsageError, match=r"models: .*got 0"):
        study.load(str(path), models=0)


@pytest.mark.parametrize(("name", "pinned"), [("digits", "e96d70910d0a5859"), ("tiny", "43c17a8302f3c575")])
def test_the_fingerprint_of_a_shipped_study_is_pinned(name, pinned):
    """Another value means that no lake built before is recognised any more."""
    chosen = study.load(name)
    assert chosen.fingerprint(datasets.digest(chosen.dataset)) == pinned


@pytest.mark.parametrize(
    "changes",
    [{"models": 96}, {"estimators": ["lasso"]}, {"curve": []}, {"removals": {"repeats": 2}}, {"support": {"repeats": 3}}],
)
def test_how_many_models_and_what_is_asked_of_them_are_no_part_of_the_fingerprint(study_of, changes):
    assert study_of(**changes).fingerprint("d") == study_of().fingerprint("d")
    assert study_of(**changes) != study_of()


CHANGES = [
    {"alpha": 0.25},
    {"fit_alphas": [0.25, 0.75]},
    {"design": "bernoulli"},
    {"margin": "logsumexp"},
    {"seed": 1},
    {"pool": 5},
    {"heldout_masks": 5},
    {"heldout_repeats": 2},
    {"partition_models": 32},
    {"dataset": {"source": "digits", "n_train": 61, "n_test": 20}},
    {"algorithm": {"name": "patchnet", "widths": [4], "epochs": 3, "batch": 10}},
    {"algorithm": {"name": "logistic"}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: "-".join(c))
def test_every_field_that_changes_numbers_changes_the_fingerprint(study_of, changes):
    assert study_of(**changes).fingerprint("d") != study_of().fingerprint("d")


def test_every_field_is_known_to_change_numbers_or_not():
    free = {"name", "models", "estimators", "curve", "removals", "support", "structure"}
    assert {field for change in CHANGES for field in change} == set(Study.model_fields) - free


def test_the_digest_of_the_images_changes_the_fingerprint(small):
    assert small.fingerprint("d") != small.fingerprint("e")


def test_equal_numbers_written_otherwise_are_one_study(study_of):
    recipe = {"name": "patchnet", "widths": [4], "epochs": 2, "batch": 10}
    one, other = (study_of(alpha=a, algorithm={**recipe, "learning_rate": r}) for a, r in ((0.5, 1), (1 / 2, 1.0)))
    assert one == other
    assert hash(one) == hash(other)
    assert one.fingerprint("d") == other.fingerprint("d")
    assert {one: "found"}[other] == "found"


def test_studies_survive_the_way_to_a_worker(study_of):
    for algorithm in ({"name": "patchnet"}, {"name": "my:algorithm", "depth": [1, 2]}):
        chosen = study_of(algorithm=algorithm)
        copy = pickle.loads(pickle.dumps(chosen))
        assert copy == chosen
        assert copy.fingerprint("d") == chosen.fingerprint("d")


def test_a_study_cannot_be_changed(small):
    with pytest.raises(ValueError, match="frozen"):
        small.alpha = 0.25


def test_dataset_names_differ_when_datasets_do():
    sizes = [{}, {"n_train": 200}, {"n_test": 200}, {"n_train": 200, "n_test": 100}, {"n_train": 100, "n_test": 200}]
    names = [study.Dataset(**size).name for size in sizes]
    assert len(set(names)) == len(sizes)
    assert names[:2] == ["digits", "digits-200"]
    assert names[3] == "digits-200-100"
