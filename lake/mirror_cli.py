"""The commands `push`, `pull` and `diff`: options in, one line a path out, the outcome as exit code."""

from typing import Annotated

import typer

from lake import hub, mirror
from lake.errors import ConflictError
from lake.mirror import Request
from lake.pull import diff as find_differences
from lake.pull import pull as pull_all
from lake.push import push as push_all
from lake.store import Lake

RepoArgument = Annotated[str, typer.Argument(help="Dataset repo on the Hugging Face Hub: owner/name.")]
LakeOption = Annotated[str, typer.Option(help="Folder of the lake.")]
OnlyOption = Annotated[str, typer.Option(help="Tables, such as margins or masks,margins; left out: all.")]
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
    dry_run: DryOption = False,
) -> None:
    """Fetch partitions that the lake lacks; every byte is checked, and nothing here is overwritten unless you name it.

    Exit 3 when conflicts are left (each is named), 4 when a download is damaged, 5 to run the same command again.

    Examples:

      python -m lake pull ada/digits-lake

      python -m lake pull ada/digits-lake --only margins,masks --revision v1.0

      python -m lake pull ada/digits-lake --theirs masks/study=digits/fit-00003.parquet
    """
    request = Request(mirror.tables_of(only), frozenset(theirs or ()), dry_run)
    pull_all(Lake(lake), hub.Hub(repo, revision, say=print), request).finish()


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
