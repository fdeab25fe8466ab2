"""The commands `push`, `pull`, `diff` and `check`: options in, one line a path out, the outcome as exit code."""

from typing import Annotated

import typer

from lake import hub, mirror
from lake.check import check as find_problems
from lake.errors import ConflictError, CorruptError
from lake.mirror import Request
from lake.pull import diff as find_differences
from lake.pull import pull as pull_all
from lake.push import push as push_all
from lake.store import Lake
from lake.verify import quarantine

RepoArgument = Annotated[str, typer.Argument(help="Dataset repo on the Hugging Face Hub: owner/name.")]
LakeOption = Annotated[str, typer.Option(help="Folder of the lake.")]
OnlyOption = Annotated[str, typer.Option(help="Tables, such as margins or masks,margins; left out: all.")]
StudyOption = Annotated[
    str, typer.Option(help="TOML file of the study, where it is not a shipped one: to train a model again.")
]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")]


def push(
    repo: RepoArgument,
    lake: LakeOption = "data",
    only: OnlyOption = "",
    revision: Annotated[str, typer.Option(help="Branch to push to.")] = "main",
    ours: Annotated[list[str] | None, typer.Option(help="Path of a conflict in which our file wins; may be repeated.")] = None,
    dry_run: DryOption = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Propose as a pull request: needs no write access.")] = False,
    create: Annotated[bool, typer.Option("--create", help="Make the repo, private, if there is none.")] = False,
) -> None:
    """Send new partitions and the dataset card to the mirror; never overwrites what somebody else has put there.

    Exit 3 when conflicts are left (each is named), 4 when a file is damaged, 5 to run the same command again.

    Examples:

      python -m lake push ada/digits-lake --dry-run

      python -m lake push ada/digits-lake --only margins

      python -m lake push ada/digits-lake --ours masks/study=digits/fit-00003.parquet
    """
    target = hub.Hub(repo, revision, propose=create_pr, say=print)
    if create:
        target.create()
    push_all(Lake(lake), target, Request(mirror.tables_of(only), frozenset(ours or ()), dry_run)).finish()


def pull(
    repo: RepoArgument,
    lake: LakeOption = "data",
    only: OnlyOption = "",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit to pull from.")] = "main",
    theirs: Annotated[list[str] | None, typer.Option(help="Path of a conflict in which their file wins; repeatable.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Judge what arrives as `check` does, and set aside what fails.")
    ] = False,
    study: StudyOption = "",
    dry_run: DryOption = False,
) -> None:
    """Fetch partitions that the lake lacks; every byte is checked, and nothing here is overwritten unless you name it.

    Exit 3 when conflicts are left (each is named), 4 when a download is damaged, 5 to run the same command again.

    Examples:

      python -m lake pull ada/digits-lake

      python -m lake pull ada/digits-lake --only margins,masks --revision v1.0

      python -m lake pull ada/digits-lake --theirs masks/study=digits/fit-00003.parquet

      python -m lake pull stranger/digits-lake --check
    """
    target, request = Lake(lake), Request(mirror.tables_of(only), frozenset(theirs or ()), dry_run)
    outcome = pull_all(target, hub.Hub(repo, revision, say=print), request)
    if check:
        _judge(target, outcome.moved, study, aside=True)
    outcome.finish()


def check(
    paths: Annotated[list[str], typer.Argument(help="Partitions, such as margins/study=digits/fit-00003.parquet.")],
    lake: LakeOption = "data",
    study: StudyOption = "",
) -> None:
    """Judge partitions that somebody else made: seal, rows, masks, seeds, distribution, and one model trained again.

    Exit 4 when one fails, with its name and what is wrong.

    Example:

      python -m lake check margins/study=digits/fit-00003.parquet
    """
    _judge(Lake(lake), paths, study)


def _judge(lake: Lake, paths: list[str], study: str, aside: bool = False) -> None:
    problems = find_problems(lake, paths, study)
    for problem in problems:
        print(problem)
    for path, kept in (quarantine(lake, problems) if aside else {}).items():
        print(f"{path}: set aside as {kept}")
    print(f"check: {len(paths)} partition(s), {len(problems)} problem(s)")
    if problems:
        raise CorruptError(f"{len(problems)} problem(s), listed above")


def diff(
    repo: RepoArgument,
    lake: LakeOption = "data",
    only: OnlyOption = "",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit to compare with.")] = "main",
) -> None:
    """Show in which files lake and mirror differ, and who moved; exit 3 when one is a conflict.

    Example:

      python -m lake diff ada/digits-lake --only weights
    """
    rows = find_differences(Lake(lake), hub.Hub(repo, revision, say=print), Request(mirror.tables_of(only)))
    if conflicts := [row.path for row in rows if row.state == "conflict"]:
        raise ConflictError(f"{len(conflicts)} conflict(s), first: {conflicts[0]}")
