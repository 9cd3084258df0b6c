"""Connections become clients and paths here. This layer and those above it know Airflow."""
