"""IO managers are hooks of Airflow: connection types, and the fields of their form."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from airflow.providers_manager import ProvidersManager

from flowstone_provider.provider_info import get_provider_info

MANAGERS = {
    point.name: point.load()
    for point in entry_points(group="flowstone.io_managers")
    if point.value.startswith("flowstone_provider.")
}
CONNECTIONS = {each["connection-type"]: each for each in get_provider_info()["connection-types"]}


# Newer ones have another class for tasks; `airflow providers hooks` asks this one.
@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
@pytest.mark.parametrize("name", sorted(MANAGERS))
def test_airflow_knows_the_connection_type(name):
    manager = MANAGERS[name]
    hook = ProvidersManager().hooks[manager.conn_type]
    assert hook is not None
    assert hook.hook_class_name == f"{manager.__module__}.{manager.__qualname__}"
    assert hook.hook_name == manager.hook_name
    assert hook.connection_id_attribute_name == manager.conn_name_attr == "flowstone_conn_id"


@pytest.mark.parametrize("name", sorted(MANAGERS))
def test_the_form_has_the_options(name):
    manager = MANAGERS[name]
    assert list(CONNECTIONS[manager.conn_type].get("conn-fields", {})) == list(manager.options.model_fields)


# Older ones ask the hook's class, not the provider.
@pytest.mark.airflow("3.2")
@pytest.mark.parametrize("name", sorted(MANAGERS))
def test_the_form_hides_what_leads_nowhere(name):
    manager = MANAGERS[name]
    behaviour = ProvidersManager().field_behaviours[manager.conn_type]
    assert {"host", "schema", "login", "password", "port"} <= {*behaviour["hidden_fields"]}
