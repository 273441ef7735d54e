"""Make a candidate of each fund whose data changed: draft, build, audit; then stop. People approve, Airflow does not."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, dag, task, task_group
from airflow.sdk.exceptions import AirflowFailException

from pipeline import errors, worker

ACCEPTED = Asset(name="accepted_submissions", uri="x-openoutcomes://log/accepted_submissions")
DEFAULTS = {"owner": "open-outcomes", "retries": 3, "retry_delay": timedelta(seconds=20)}
LABEL = "{{ task.op_args[0] }}"


@dag(schedule=[ACCEPTED], start_date=datetime(2026, 1, 1, tzinfo=UTC), max_active_runs=1, default_args=DEFAULTS, doc_md=__doc__)
def build_release() -> None:
    @task
    def draft_release() -> list[str]:
        return worker.draft_releases()

    @task(map_index_template=LABEL)
    def build_candidate(release: str) -> str:
        return worker.build_candidate(release)

    @task(map_index_template=LABEL)
    def audit_candidate(release: str) -> str:
        try:
            return worker.audit_candidate(release)
        except errors.NotAllowedError as error:
            raise AirflowFailException(str(error)) from error

    @task_group
    def candidate_line(release: str) -> str:
        return audit_candidate(build_candidate(release))

    candidate_line.expand(release=draft_release())


build_release()
