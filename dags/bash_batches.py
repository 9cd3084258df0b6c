"""Batches for any operator: a shell command finds the hottest hour of each month of New York's weather in 2013."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, task

from flowstone_provider import Batching, ScatterGatherOperator, ScatterOptions, ScatterPlanOperator, Tolerance, source

OBSERVATIONS = Path(__file__).parent / "data" / "weather.csv.gz"

# A batch file is JSON Lines; each line holds an item under "item".
HOTTEST = """
set -o pipefail
file="${URI#file://}"
if grep -q '"temp":"NA"' "$file"; then
    echo "$ITEMS observations, and one of them lacks its temperature" >&2
    exit 1
fi
echo "$ITEMS observations"
grep -o '"temp":"[^"]*"' "$file" | cut -d '"' -f 4 | sort -n | tail -n 1
"""


# [START bash_batches]
@dag(schedule=None, tags=["flowstone"])
def bash_batches():
    """The hottest hour of each month. A month that lacks a reading is left out; more than one fail the run."""
    options = ScatterOptions(
        select=["month", "temp"],
        batching=Batching(group_by="month", max_items=1),  # a group is never torn apart: one batch a month
        tolerance=Tolerance(percent=10),
    )
    plan = ScatterPlanOperator(
        task_id="plan",
        scatter_id="hottest",
        items=source("csv", path=str(OBSERVATIONS)),
        options=options,
        batch_files=True,
    )
    hottest = BashOperator.partial(task_id="hottest", bash_command=HOTTEST, append_env=True).expand(
        env=plan.output.map(lambda batch: {"URI": batch["uri"], "ITEMS": str(batch["items"])})
    )
    gather = ScatterGatherOperator(task_id="gather", scatter_id="hottest", options=options, batch_task_id="hottest")

    @task
    def report(gathered: dict[str, Any]) -> str:
        counts = gathered["counts"]
        return f"{counts['succeeded']:,} observations in complete months, {counts['pending']:,} left out"

    [plan, hottest] >> gather
    report(gather.output)


# [END bash_batches]

bash_batches()
