"""Take in what lies in the inbox: one mapped line of tasks per delivery, receive, validate, then accept or reject; XCom carries ids only.

A project's quarters go one after the other, because a return is judged by what was accepted before: a run takes each project's earliest quarter.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, DeltaTriggerTimetable, TriggerRule, dag, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from pipeline import worker

ACCEPTED = Asset(name="accepted_submissions", uri="x-openoutcomes://log/accepted_submissions")
WAITING = Asset(name="waiting_deliveries", uri="x-openoutcomes://inbox/waiting_deliveries")
OFTEN = AssetOrTimeSchedule(timetable=DeltaTriggerTimetable(timedelta(minutes=15)), assets=[WAITING])
DEFAULTS = {"owner": "open-outcomes", "retries": 3, "retry_delay": timedelta(seconds=20)}
LABEL = "{{ task.op_args[0] }}"


@dag(schedule=OFTEN, start_date=datetime(2026, 1, 1, tzinfo=UTC), max_active_runs=1, default_args=DEFAULTS, doc_md=__doc__)
def ingest_submissions() -> None:
    @task
    def list_deliveries() -> list[str]:
        return worker.list_deliveries()

    @task_group
    def delivery_line(delivery: str) -> str:
        @task(map_index_template=LABEL)
        def receive_submission(delivery: str) -> str:
            return worker.receive_submission(delivery)

        @task(map_index_template=LABEL)
        def validate_submission(revision: str) -> str:
            return worker.validate_submission(revision)

        @task(map_index_template=LABEL)
        def accept_submission(revision: str) -> str:
            return worker.accept_submission(revision)

        return accept_submission(validate_submission(receive_submission(delivery)))

    @task(outlets=[ACCEPTED], trigger_rule=TriggerRule.ALL_DONE)
    def announce_accepted(concluded: list[str]) -> None:
        if not any(one.endswith(":accepted") for one in concluded or []):
            raise AirflowSkipException("No return was accepted in this run.")

    @task(outlets=[WAITING], trigger_rule=TriggerRule.ALL_DONE)
    def announce_waiting(concluded: list[str]) -> None:
        if not concluded or not worker.list_deliveries():
            raise AirflowSkipException("Nothing more waits in the inbox.")

    concluded = delivery_line.expand(delivery=list_deliveries())
    [announce_accepted(concluded), announce_waiting(concluded)]


ingest_submissions()
