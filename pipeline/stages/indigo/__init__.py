"""The import of an INDIGO export: real, public, and dirty figures of an outcomes fund, as register and as returns of counts and payments.

Every row of the fund is taken, queried or refused, by rules that stand in `schemas/rules/indigo.json`; what is normalised leaves a note; rows and
pounds in are rows and pounds taken, queried and refused, exactly. Nothing is repaired in silence. This room is pure: `adapters/indigo_export.py`
reads the files, the application loads what comes out.
"""

from pipeline.stages.indigo.accounting import MONEY_KINDS, Accounting, Disposition, Kind, RowOutcome, RuleTally, Tally
from pipeline.stages.indigo.conversion import IndigoImport, convert
from pipeline.stages.indigo.export import HEADINGS, OPTIONAL, ExportRow, FileFault, IndigoExport

__all__ = [
    "HEADINGS",
    "MONEY_KINDS",
    "OPTIONAL",
    "Accounting",
    "Disposition",
    "ExportRow",
    "FileFault",
    "IndigoExport",
    "IndigoImport",
    "Kind",
    "RowOutcome",
    "RuleTally",
    "Tally",
    "convert",
]
