"""A real Airflow: API server, scheduler, DAG processor and triggerer as processes, over PostgreSQL.

Tests put DAG files into it and watch through the public REST API, as a user would.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import Server, free_port, wait_until

_COMMANDS = {
    "api-server": [],
    "scheduler": ["--skip-serve-logs"],
    "dag-processor": [],
    "triggerer": ["--skip-serve-logs"],
}
_POLL_SECONDS = 0.3
_FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}

# Airflow's own pace is set for days, a test's is not.
_PACE = {
    "CORE__PARALLELISM": 4,
    "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 0,
    "DAG_PROCESSOR__REFRESH_INTERVAL": 1,
    "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": 1,
    # A changed file is parsed at once all the same.
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 300,
    "DAG_PROCESSOR__PARSING_PROCESSES": 1,
    "SCHEDULER__JOB_HEARTBEAT_SEC": 2,
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.3,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": 2,
    "TRIGGERER__JOB_HEARTBEAT_SEC": 2,
    # A failed task's end is noticed at the next heartbeat.
    "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
}


class Cluster:
    """The Airflow that tests talk to; made by ``running_airflow``.

    Attributes:
        url: Where its API server is.
        home: ``AIRFLOW_HOME``.
        dags: Its DAG folder.
        storage: The folder behind ``[flowstone] storage``.
        openlineage: The file with OpenLineage's events, of DAGs with ``enable_lineage``.
        env: The environment of its processes.
        signal_key: The key of signal gates, which lies in a connection.
        passwords: The users' passwords; a user's role is their name: ``admin``, ``op``, ``viewer``.
    """

    def __init__(self, home: Path, database: str):
        port = free_port()
        self.home = home
        self.dags = home / "dags"
        self.storage = home / "ledger"
        self.openlineage = home / "openlineage.jsonl"
        self.url = f"http://127.0.0.1:{port}"
        self.passwords = {role: secrets.token_hex(8) for role in ("admin", "op", "viewer")}
        self.signal_key = secrets.token_urlsafe(32)
        self.env = self._environment(port, database)
        self._servers: dict[str, Server] = {}
        self._clients: dict[str, httpx.Client] = {}

    def _environment(self, port: int, database: str) -> dict[str, str]:
        settings = _PACE | {
            "API__PORT": port,
            "API__HOST": "127.0.0.1",
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "CORE__DAGS_FOLDER": self.dags,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.home / "passwords.json",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in self.passwords),
            "DATABASE__SQL_ALCHEMY_CONN": database.replace("postgresql://", "postgresql+psycopg2://"),
            "FLOWSTONE__STORAGE": self.storage.as_uri(),
            "OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(self.openlineage), "append": True}
            ),
            # Only DAGs that ask for it are told of.
            "OPENLINEAGE__SELECTIVE_ENABLE": True,
            "FLOWSTONE__IO_MANAGERS": json.dumps({"warehouse": {"use": "parquet"}}),
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
        airflow = {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
        return ours | airflow | {"AIRFLOW_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}

    def start(self) -> None:
        """Make the database, start the components, wait until each says that it is well."""
        (self.home / "passwords.json").write_text(json.dumps(self.passwords))
        self.dags.mkdir(exist_ok=True)
        self.storage.mkdir()
        self.cli("db", "migrate")
        self._start(*_COMMANDS)

    def _start(self, *names: str) -> None:
        for name in names:
            argv = [sys.executable, "-m", "airflow", name, *_COMMANDS[name]]
            self._servers[name] = Server(argv, log=self.home / f"{name}.log", env=self.env, name=name)
        self._servers["api-server"].wait_ready(self._healthy, timeout=120)

    def restart(self, *names: str) -> None:
        """Kill these components, all at once, and start them again."""
        for name in names:
            self._servers[name].stop(signal.SIGKILL)
        self._start(*names)

    def _healthy(self) -> bool:
        with suppress(httpx.TransportError):
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10, trust_env=False).json()
            return all(part["status"] == "healthy" for part in health.values())
        return False

    def stop(self) -> None:
        """Kill everything: the database goes too."""
        for client in self._clients.values():
            client.close()
        for server in self._servers.values():
            server.stop(signal.SIGKILL)

    def tails(self) -> str:
        """The end of each component's output, without the requests served."""
        tails = {name: server.tail(without="[http.access]") for name, server in self._servers.items()}
        return "\n".join(f"--- {name}\n{tail}" for name, tail in tails.items())

    def cli(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``airflow ARGS…`` against it."""
        argv = [sys.executable, "-m", "airflow", *args]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"airflow {' '.join(args)} ended with {done.returncode}:\n{done.stderr}")
        return done

    def client(self, user: str = "admin") -> httpx.Client:
        """An HTTP client with a token of this user; paths are relative to ``url``."""
        if user not in self._clients:
            login = {"username": user, "password": self.passwords[user]}
            answer = httpx.post(f"{self.url}/auth/token", json=login, timeout=30, trust_env=False)
            headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
            self._clients[user] = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)
        return self._clients[user]

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the public API as the administrator; ``path`` is relative to ``/api/v2``.

        Returns:
            The answer's JSON.

        Raises:
            httpx.HTTPStatusError: The answer is an error; the message holds its body.
        """
        answer = self.client().request(method, f"/api/v2/{path}", **options)
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {answer.status_code} {answer.text}",
                request=answer.request,
                response=answer,
            )
        return answer.json() if answer.content else None

    # DAGs

    def add_dag(self, source: Path | str, *, timeout: float = 60) -> str:
        """Put a DAG file in, or again with other contents; wait until it is parsed, and unpause its DAG.

        Args:
            source: A file, or Python code.
            timeout: Seconds to wait.

        Returns:
            The id of the file's (first) DAG.

        Raises:
            RuntimeError: The file cannot be imported; with Airflow's message.
        """
        if isinstance(source, Path):
            name, code = source.name, source.read_text()
        else:
            code = textwrap.dedent(source)
            name = f"dag_{uuid.uuid5(uuid.NAMESPACE_OID, code).hex[:12]}.py"
        since = datetime.now(timezone.utc)
        # Whole or not at all: the DAG processor may look at any moment.
        part = self.home / name
        part.write_text(code)
        part.replace(self.dags / name)

        def parsed() -> str | None:
            for error in self.api("GET", "importErrors", params={"limit": 100})["import_errors"]:
                if error["filename"] == name and _time(error["timestamp"]) > since:
                    raise RuntimeError(f"{name} cannot be imported:\n{error['stack_trace']}")
            for dag in self.api("GET", "dags", params={"limit": 100})["dags"]:
                if dag["relative_fileloc"] == name and _time(dag["last_parsed_time"]) > since:
                    return dag["dag_id"]
            return None

        dag_id = wait_until(parsed, timeout=timeout, what=f"{name} is not parsed", poll=_POLL_SECONDS)
        self.unpause(dag_id)
        return dag_id

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run; those of the repository are paused at first."""
        self.api("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    # Runs

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run, of now; return its id."""
        now = datetime.now(timezone.utc)
        run_id = run_id or f"test__{now:%H%M%S}_{uuid.uuid4().hex[:8]}"
        body = {"dag_run_id": run_id, "conf": conf or {}, "logical_date": now.isoformat()}
        self.api("POST", f"dags/{dag_id}/dagRuns", json=body)
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        return self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]

    def wait_run(self, dag_id: str, run_id: str, timeout: float = 120) -> str:
        """Wait until a run has ended; return its state, ``success`` or ``failed``."""

        def ended() -> str | None:
            state = self.run_state(dag_id, run_id)
            return state if state in _FINISHED else None

        return wait_until(ended, timeout=timeout, what=lambda: self._describe(dag_id, run_id), poll=_POLL_SECONDS)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run, by task and map index.

        Returns:
            What the API tells of each: ``task_id``, ``map_index``, ``state``, ``try_number``,
            ``rendered_map_index`` and more.
        """
        path, found = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", []
        while True:
            page = self.api("GET", path, params={"limit": 100, "offset": len(found)})
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return sorted(found, key=lambda ti: (ti["task_id"], ti["map_index"]))

    def wait_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int = -1,
        *,
        states: Sequence[str] = tuple(_FINISHED),
        timeout: float = 120,
    ) -> dict[str, Any]:
        """Wait until a task instance is in one of these states (by default: ended); return it."""

        def there() -> dict[str, Any] | None:
            for ti in self.task_instances(dag_id, run_id):
                if (ti["task_id"], ti["map_index"]) == (task_id, map_index) and ti["state"] in states:
                    return ti
            return None

        return wait_until(there, timeout=timeout, what=lambda: self._describe(dag_id, run_id), poll=_POLL_SECONDS)

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str | tuple[str, int]] | None = None,
        *,
        only_failed: bool = False,
        include_downstream: bool = False,
    ) -> list[dict[str, Any]]:
        """Press Clear: on all tasks, on these tasks, or on these (task, map index).

        Returns:
            The task instances that were cleared.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "only_failed": only_failed,
            "include_downstream": include_downstream,
            "reset_dag_runs": True,
        }
        return self.api("POST", f"dags/{dag_id}/clearTaskInstances", json=body)["task_instances"]

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        """The value that a task instance left."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.api("GET", path, params={"map_index": map_index, "deserialize": True})["value"]

    def logs(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int | None = None) -> str:
        """The log of a try of a task instance (by default: the last), a line per message."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        if try_number is None:
            suffix = f"/{map_index}" if map_index >= 0 else ""
            try_number = self.api("GET", path + suffix)["try_number"]
        params = {"map_index": map_index, "full_content": True}
        content = self.api("GET", f"{path}/logs/{try_number}", params=params)["content"]
        return "\n".join(line if isinstance(line, str) else _line(line) for line in content)

    def _describe(self, dag_id: str, run_id: str) -> str:
        instances = self.task_instances(dag_id, run_id)
        states = [f"  {ti['task_id']}[{ti['map_index']}] {ti['state']}" for ti in instances]
        return "\n".join([f"run {run_id} of {dag_id} is {self.run_state(dag_id, run_id)}", *states])


@contextmanager
def running_airflow(home: Path, database: str, dags: Path) -> Iterator[Cluster]:
    """Start an Airflow over an empty PostgreSQL database, with a copy of these DAGs; yield it; kill it."""
    cluster = Cluster(home, database)
    if dags.is_dir():
        shutil.copytree(dags, cluster.dags, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _line(message: dict[str, Any]) -> str:
    rest = {name: value for name, value in message.items() if name not in ("timestamp", "event") and value}
    return f"{message.get('timestamp') or ''} {message['event']} {rest or ''}".strip()
