"""Publish whatever is approved and not published yet: a reconciler that reads the log, so that approval and Airflow share nothing else."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, dag, task

from pipeline import worker

PUBLISHED = Asset(name="published_releases", uri="x-openoutcomes://log/published_releases")
DEFAULTS = {"owner": "open-outcomes", "retries": 3, "retry_delay": timedelta(seconds=20)}


@dag(
    schedule=timedelta(minutes=10),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args=DEFAULTS,
    doc_md=__doc__,
)
def publish_releases() -> None:
    @task
    def list_approved() -> list[str]:
        return worker.list_approved()

    @task(map_index_template="{{ task.op_kwargs['release'] }}", outlets=[PUBLISHED])
    def publish_release(release: str) -> str:
        return worker.publish_release(release)

    publish_release.expand(release=list_approved())


publish_releases()
