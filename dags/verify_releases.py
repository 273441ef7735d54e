"""Every night: the log against itself, the public files against the log, and the newest release built again and compared byte for byte."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

from pipeline import errors, worker

DEFAULTS = {"owner": "open-outcomes", "retries": 1, "retry_delay": timedelta(minutes=5)}


@dag(schedule="0 2 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), max_active_runs=1, default_args=DEFAULTS, doc_md=__doc__)
def verify_releases() -> None:
    @task
    def list_published() -> list[str]:
        return worker.list_published()

    @task(map_index_template="{{ task.op_kwargs['fund'] }}")
    def verify_fund(fund: str) -> str:
        try:
            return worker.verify_fund(fund)
        except errors.IntegrityError as error:
            raise AirflowFailException(str(error)) from error

    verify_fund.expand(fund=list_published())


verify_releases()
