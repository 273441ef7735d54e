"""Take a whole return back in one act: what it touched, the correcting release, the words for the public, and a mark on the versions that held it.

It can be done again after a crash: what was withdrawn stays so, and the rest follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pipeline.application import receipts, releases, submissions
from pipeline.application.candidates import read_published
from pipeline.application.facts import read_facts
from pipeline.application.receipts import Reached
from pipeline.application.register import fund_record, project_records
from pipeline.application.services import Services, read_ledger
from pipeline.domain.release import FINAL, Release
from pipeline.domain.submission import RevisionKey, SubmissionKey
from pipeline.errors import NotAllowedError, NotFoundError
from pipeline.stages import difference, notices
from pipeline.stages.difference import PayerDifference
from pipeline.stages.receipt import FedCell

TOTALS = ("users_count", "outcomes_quantity", "paid_gbp")
"""The columns of `performance` into which rows of a return are summed."""


@dataclass(frozen=True, kw_only=True)
class Retraction:
    """What taking a return back came to.

    `cells` are those that its rows fed, `totals` the sums above them, with their status by version; `payers` what it had said that each paid: for the
    steward. `candidate` is the correcting release, audited, None when nothing published differs; `waits` says why it was not made. `notice` is a
    draft for the public, without values.
    """

    key: SubmissionKey
    reason: str
    withdrawn: Sequence[int]
    reached: Sequence[Reached]
    cells: Sequence[FedCell]
    totals: Sequence[FedCell]
    payers: Sequence[PayerDifference]
    candidate: Release | None
    waits: str | None
    notice: str

    @property
    def paid_gbp(self) -> Decimal:
        """What the return had said that was paid, in all."""
        return sum((payer.before_gbp for payer in self.payers), Decimal(0))


def retract(services: Services, key: SubmissionKey, reason: str) -> Retraction:
    """Withdraw every accepted revision of a return, and make the release that corrects what it touched.

    Raises: NotFoundError when nothing was delivered; NotAllowedError when nothing of it was ever accepted, or the project is in no fund; UsageError
    when the reason is not one of WITHDRAWAL_REASONS.
    """
    before = submissions.load(services, key)
    if not before.revisions:
        raise NotFoundError(f"Nothing was delivered for {key}. `outcomes submission list` shows what was.")
    accepted = [one.number for one in before.revisions if one.state in ("accepted", "withdrawn")]
    if not accepted:
        raise NotAllowedError(f"Nothing of {key} was ever accepted, so nothing can be taken back. A delivery that waits is refused with `reject`.")
    standing = before.in_force or before.revision(accepted[-1])
    # From the first to the last, so that none that was replaced comes into force in between.
    for number in accepted:
        submissions.withdraw(services, RevisionKey(key, number), reason)
    fund_id = _fund_of(services, key)
    receipt = receipts.make(services, key, with_rows=False)
    candidate, waits = _correct(services, fund_id)
    state = releases.load(services, fund_id)
    if state.newest is not None:
        releases.tell(services, fund_id)
    made = Retraction(
        key=key,
        reason=reason,
        withdrawn=accepted,
        reached=receipt.reached,
        cells=receipt.cells,
        totals=_totals(services, fund_id, key, receipt.reached),
        payers=difference.compare_payments(read_facts(services, standing.facts), read_facts(services, ())),
        candidate=candidate,
        waits=waits,
        notice="",
    )
    return replace(made, notice=_notice(services, fund_id, made))


def describe(made: Retraction) -> Sequence[str]:
    """Return a retraction as lines for a terminal."""
    lines = [f"{made.key}: withdrawn ({made.reason}), revisions {', '.join(map(str, made.withdrawn))}; none is in force."]
    lines += [f"Reached {item.version} ({item.state}) with revision {item.revision}." for item in made.reached]
    lines += [_cell_line(cell) for cell in (*made.cells, *made.totals)]
    lines += [f"  {payer.payer_id}: £{payer.before_gbp:,} were said to be paid" for payer in made.payers]
    if made.candidate is not None:
        passed = "passed its audit" if made.candidate.audit_passed else "FAILED its audit"
        lines.append(f"The correcting release is {made.candidate.version}; it {passed}. `outcomes release checklist {made.candidate.version}`.")
    elif made.waits is not None:
        lines.append(made.waits)
    else:
        lines.append("Nothing that is published differs; no release was made.")
    return [*lines, "", made.notice]


def _cell_line(cell: FedCell) -> str:
    said = ", ".join(f"{status} in {version}" for version, status in cell.status.items())
    return f"  {cell.table} {' / '.join(filter(None, cell.cell.values()))}: {said}"


def _fund_of(services: Services, key: SubmissionKey) -> str:
    fund_id = read_ledger(services).fund_of.get(key.project_id)
    if fund_id is None:
        raise NotAllowedError(f"Project {key.project_id} is in no fund of the register; nothing that it sent was ever published.")
    return fund_id


def _correct(services: Services, fund_id: str) -> tuple[Release | None, str | None]:
    """Make the correcting release; say why it waits when another one is approved and not yet published."""
    try:
        return releases.make(services, fund_id), None
    except NotAllowedError as error:
        return None, f"The correcting release waits: {error}"


def _totals(services: Services, fund_id: str, key: SubmissionKey, reached: Iterable[Reached]) -> Sequence[FedCell]:
    """Return the sums over project, sector and fund that the return went into, with their status in each version that it reached."""
    state = releases.load(services, fund_id)
    labels = {code: word for word, code in services.definitions.disclosure["status"].items()}
    sector = project_records(services, read_ledger(services), fund_id)[key.project_id]["project"]["policy_sector"]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for item in reached:
        table = read_published(services, fund_id, state.release(item.version)).get("performance")
        for row in table.to_pylist() if table is not None else ():
            name = {"project": key.project_id, "sector": sector, "fund": fund_id}[row["level"]]
            own = {"project": row["project_id"], "sector": row["policy_sector"], "fund": fund_id}[row["level"]]
            for column in TOTALS if name == own and row["aggregation"] == "pooled" else ():
                status = row[f"{column}_status"]
                found.setdefault((f"{row['level']} {name}", column), {})[item.version] = labels.get(status, str(status))
    return [FedCell(table="performance", cell={"of": of, "column": column}, rows=0, status=status) for (of, column), status in sorted(found.items())]


def _notice(services: Services, fund_id: str, made: Retraction) -> str:
    at = read_ledger(services)
    published = [item.version for item in releases.load(services, fund_id).all if item.state in FINAL]
    return notices.withdrawn_return(
        notices.WithdrawnReturn(
            fund=fund_record(services, at, fund_id)["fund"]["name"],
            project=project_records(services, at, fund_id)[made.key.project_id]["project"]["name"],
            project_id=made.key.project_id,
            quarter=made.key.quarter,
            reason=made.reason,
            on=services.clock().date(),
            versions=[item.version for item in made.reached],
            tables=sorted({cell.table for cell in (*made.cells, *made.totals)}),
            corrected_by=made.candidate.version if made.candidate and made.candidate.version not in published else None,
        )
    )
