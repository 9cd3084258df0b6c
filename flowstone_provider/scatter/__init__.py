"""The engine of scatter: plan, run, record, judge. Knows no Airflow; runs in a notebook."""
