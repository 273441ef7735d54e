"""The verb that makes a project's template from what the register says of it; nothing is sent for, and nothing is kept."""

from __future__ import annotations

import json
from typing import Literal

from pipeline.application.register import fund_record
from pipeline.application.services import Services, read_ledger, unseal
from pipeline.domain.quarters import Quarter
from pipeline.errors import NotFoundError
from pipeline.stages.template import plan_template, write_template_zip


def make_template(services: Services, project_id: str, quarter: Quarter, form: Literal["xlsx", "csv"]) -> bytes:
    """Return the template of a project's return for a quarter.

    Raises: NotFoundError when the project is not registered; UsageError when its contract has no such quarter.
    """
    ledger = read_ledger(services)
    if project_id not in ledger.projects:
        raise NotFoundError(f"There is no project {project_id} in the register. `outcomes register show` lists them.")
    fund = fund_record(services, ledger, ledger.fund_of[project_id])
    project = json.loads(unseal(services.restricted, ledger.projects[project_id]))
    template = plan_template(fund, project, quarter, services.definitions)
    if form == "csv":
        return write_template_zip(template)
    from pipeline.stages.template_book import write_template_book

    return write_template_book(template)
