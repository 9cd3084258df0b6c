"""Decorators that the provider adds to Airflow's ``@task``."""
