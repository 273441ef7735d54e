"""The root command and what belongs to no group: init, sample, template, verify."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli import events, fate, history, imports, keys, participant, register, release, rules, site
from pipeline.cli.output import Printer, exit_codes, write_new
from pipeline.errors import ErasedError, IntegrityError, UsageError

app = typer.Typer(
    name="outcomes",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Publish what public money bought in people's lives: take in returns, judge them, release them as open data.",
    epilog="Exit codes: 0 done · 1 the data have errors · 2 wrong call · 3 not set up · 4 not found · 5 conflict · 6 not allowed · "
    "7 record and files disagree · 8 store or log unavailable · 9 a rule of ours is broken · 10 destroyed by an erasure",
)
app.add_typer(register.app, name="register")
app.add_typer(fate.app, name="submission")
app.add_typer(participant.app, name="participant")
app.add_typer(release.app, name="release")
app.add_typer(events.app, name="events")
app.add_typer(imports.app, name="import")
app.add_typer(keys.app, name="keys")
app.add_typer(rules.app, name="rules")
app.add_typer(site.app, name="site")
for command in (history.data, history.changes, history.revisions):
    app.command()(command)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def init(as_json: Json = False) -> None:
    """Set up an installation: the log's tables, the pseudonym key and the key that signs releases, the folders.

    Example: OUTCOMES_HOME=workspace outcomes init
    """
    from pipeline import bootstrap
    from pipeline.settings import Settings

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        settings = Settings.parse(os.environ)
        made = bootstrap.initialise(settings)
        done = [name for name, is_new in (("log", made.log), ("key", made.key), ("folders", made.folders)) if is_new]
        said = f"Made {', '.join(done)} in {settings.home}." if done else f"{settings.home} was set up already; nothing changed."
        printer.result(made, said)


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to write; must be new or empty.")],
    projects: Annotated[int, typer.Option(min=1, max=999, help="Projects in the fund.")] = 30,
    quarters: Annotated[int, typer.Option(min=1, max=80, help="Quarters that each project returns.")] = 12,
    participants: Annotated[int, typer.Option(min=0, help="People in the whole fund; 0 for about 40 a project and quarter.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    first_quarter: Annotated[str, typer.Option(help="First quarter.")] = "2021-Q2",
    as_json: Json = False,
) -> None:
    """Make a synthetic fund in Life Chances Fund style: register, plans, and quarterly returns as workbooks and CSV.

    Example: outcomes sample fund --projects 30 --quarters 12 --seed 1
    """
    from pipeline import bootstrap
    from pipeline.domain.quarters import Quarter
    from pipeline.samples import write_sample
    from pipeline.settings import Settings

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty. Name a new folder.")
        summary = write_sample(
            folder,
            definitions=bootstrap.definitions_of(Settings.parse(os.environ)),
            projects=projects,
            quarters=quarters,
            participants=participants,
            seed=seed,
            first_quarter=Quarter.parse(first_quarter),
            progress=printer.progress,
        )
        printer.result(summary, *summary.describe(), f"Next: outcomes register load {folder / 'register'}")


@app.command()
def template(
    project: Annotated[str, typer.Argument(help="Project, as in the register.")],
    quarter: Annotated[str, typer.Argument(help="Quarter, like 2024-Q1.")],
    output: Annotated[Path | None, typer.Option(help="File to write; otherwise PROJECT_QUARTER.xlsx or .zip here.")] = None,
    form: Annotated[Literal["xlsx", "csv"], typer.Option(help="A workbook, or a zip of CSV files.")] = "xlsx",
    as_json: Json = False,
) -> None:
    """Make the workbook that a project fills in for a quarter: its own metrics, payers and codes to choose from.

    A file that is there already is never written over: it may have been filled in.

    Examples: outcomes template SYN-P01 2021-Q2 · outcomes template SYN-P01 2021-Q2 --form csv --output return.zip
    """
    from pipeline import bootstrap
    from pipeline.application.templates import make_template
    from pipeline.domain.quarters import Quarter

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        made = make_template(services, project, Quarter.parse(quarter), form)
        path = output or Path(f"{project}_{quarter}.{'zip' if form == 'csv' else form}")
        write_new(path, made)
        printer.result({"file": path, "bytes": len(made)}, f"Made {path}. Fill it in, then: outcomes submission submit {path}")


@app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="Folder of one published version; without it, all that was published here.")] = None,
    fund: Annotated[str | None, typer.Option(help="Fund; needed when there are several.")] = None,
    rebuild: Annotated[bool, typer.Option(help="Also build the newest version again and compare every byte.")] = True,
    signers: Annotated[Path | None, typer.Option(help="The publisher's allowed_signers; otherwise the one beside the folder.")] = None,
    as_json: Json = False,
) -> None:
    """Verify published files against their manifest, its signature and, on an installation, the log.

    Exit code 7 when something is not as published; 10 when all is, and the newest version cannot be rebuilt because a participant was erased.

    Examples: outcomes verify datasets/SYN-LCF/v1.0.0 · outcomes verify --fund SYN-LCF
    """
    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        code = _verify_folder(printer, folder, signers) if folder is not None else _verify_fund(printer, fund, with_rebuild=rebuild)
    if code:
        raise typer.Exit(code)


def _verify_folder(printer: Printer, folder: Path, signers: Path | None) -> int:
    from pipeline.stages.verification import verify_folder

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Name the folder of one version, the one that holds MANIFEST.")
    allowed = signers or folder.resolve().parent / "allowed_signers"
    if signers is not None and not signers.is_file():
        raise UsageError(f"{signers} is no file. Name the publisher's allowed_signers.")
    found = verify_folder(
        lambda: [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()],
        lambda name: (folder / name).read_bytes(),
        signers=allowed.read_bytes() if allowed.is_file() else None,
        earlier=lambda version: (folder.resolve().parent / f"v{version}" / "release.json").read_bytes(),
    )
    problems = [f"{problem.path}: {problem.what}" for problem in found.problems]
    whose = "signed by a key of the publisher" if allowed.is_file() else "who signed them was not asked: name the publisher's keys with --signers"
    printer.result(found, *problems, f"All files are those of the manifest; {whose}." if found.ok else f"{len(problems)} files are not as published.")
    return 0 if found.ok else IntegrityError.exit_code


def _verify_fund(printer: Printer, fund: str | None, *, with_rebuild: bool) -> int:
    from pipeline import bootstrap
    from pipeline.application import proofs
    from pipeline.application.register import sole_fund
    from pipeline.application.services import read_ledger

    with bootstrap.open_services(os.environ) as services:
        proof = proofs.verify(services, sole_fund(read_ledger(services), fund), with_rebuild=with_rebuild)
    lines = ["The log holds from end to end." if proof.chain is None else f"The log breaks at position {proof.chain.position}: {proof.chain.reason}"]
    for version, found in proof.versions:
        lines.append(f"{version}: {found.files} files as published." if found.ok else f"{version}: {len(found.problems)} files are not as published.")
        lines += [f"  {problem.path}: {problem.what}" for problem in found.problems]
    lines += [
        f"{version} is public, but by the log nobody approved it: the log's end is gone, or somebody put it there." for version in proof.unknown
    ]
    if not proof.signers_stand:
        lines.append("allowed_signers is not what the log says: publish the newest version again, and find out who wrote to it.")
    lines += [f"{name} is not what log and versions lead to: `outcomes release index` writes it again." for name in proof.lists]
    if proof.rebuilt is not None:
        again = proof.rebuilt
        lines.append(f"{again.version} built again: " + ("same bytes." if not again.differing else f"differs in {', '.join(again.differing)}."))
    lines += [proof.erased] if proof.erased else []
    printer.result(proof, *lines)
    return IntegrityError.exit_code if not proof.is_whole else ErasedError.exit_code if proof.erased else 0


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version of the code."""
    from pipeline import __version__

    Printer(as_json=as_json).result({"version": __version__}, __version__)


def main() -> None:
    """Run the command line."""
    app(prog_name="outcomes")
