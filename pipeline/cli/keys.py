"""`outcomes keys`: the key that signs releases."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipeline.cli.output import Printer, exit_codes

app = typer.Typer(no_args_is_help=True, help="The key that signs releases: list, replace.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Actor = Annotated[str | None, typer.Option("--as", help="Who acts; otherwise OUTCOMES_ACTOR or your user name.")]


@app.command(name="list")
def list_(as_json: Json = False) -> None:
    """List the keys that sign or signed releases, and when each was in force. A key is listed from its first signature on.

    Example: outcomes keys list
    """
    from pipeline import bootstrap
    from pipeline.application import signing

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = signing.load_keys(services)
        rows = [
            (key.fingerprint, f"{key.valid_from:%Y-%m-%d %H:%M:%S}", f"{key.valid_until:%Y-%m-%d %H:%M:%S}" if key.valid_until else "in force")
            for key in found
        ]
        printer.table(found, "Keys", ("Fingerprint", "From (UTC)", "Until"), rows, "No key has signed anything yet.")


@app.command()
def rotate(actor: Actor = None, as_json: Json = False) -> None:
    """Make a new key and put it in the place of the one that signs releases; what that one signed stays verifiable.

    The old key is destroyed. Run it when a key may have been seen, when it is lost, or once a year. A rotation that was interrupted is finished
    by running it again. It waits until no approved release does.

    Example: outcomes keys rotate --as operator.one
    """
    from pipeline import bootstrap
    from pipeline.application import signing

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        rotated = signing.rotate(services)
        before = f" in place of {rotated.replaced.fingerprint}" if rotated.replaced else ""
        printer.result(rotated, f"{rotated.key.fingerprint} signs from now on{before}.")
