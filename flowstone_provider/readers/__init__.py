"""Item readers. They know no Airflow: paths and credentials come through `Resources`."""
