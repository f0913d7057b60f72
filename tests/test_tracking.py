"""W&B is never needed: the real client against no server, a hanging one and a small one of ours."""

import base64
import hashlib
import http.server
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from remdm.base.errors import UserError
from remdm.config.layers import Layer, base_layers, build
from remdm.config.references import is_reference
from remdm.config.runtime import RuntimeConfig
from remdm.training import tracking, wandb_client
from remdm.training.tracking import Tracker, fetch, new_run_id
from tests.tiers import slow_except

REPOSITORY = Path(__file__).parents[1]
KEY = "0123456789abcdef" * 2 + "01234567"
ROWS = [{"update": i, "frames": 64 * i, "diffusion/loss": 1 / i} for i in (1, 2, 3)]

# A process of its own, for what is tested is its exit.
SCRIPT = """
import logging, sys, time
from tests.test_tracking import ROWS, runtime
from remdm.training import tracking
logging.basicConfig(level=logging.INFO)
tracking.CLOSE_SECONDS, tracking.INIT_SECONDS = map(float, sys.argv[1:])
tracker = tracking.Tracker(runtime(), "the-id", "a name", {})
tracker.log(ROWS)
tracker.close()
"""


def runtime(**keys):
    keys = {"use_wandb": True, "wandb_project": "remdm", **keys}
    return build(RuntimeConfig, [*base_layers(None), Layer("test", keys)])


class FakeServer(http.server.ThreadingHTTPServer):
    """W&B's network edge, as far as a run and the download of one artifact go.

    `files` are the artifact's, by path; `history` and `hang` are those of the run `the-id`.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {"model/weights": b"1234", "norm.json": b"{}"}
        self.served = dict(self.files)
        self.history = []
        self.paths = []  # of the requests
        self.stop_requested = False
        self.refuses_metrics = False
        self.hang = threading.Event()
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.released.set()
        self.shutdown()
        self.server_close()

    def answer(self, operation, variables):
        """What GraphQL answers."""
        entity = {"id": "RQ==", "name": "someone"}
        project = {"id": "UA==", "internalId": "UA==", "name": "remdm", "entity": entity}
        if operation == "RunResumeStatus":
            return {"model": {"id": "TQ==", "name": "remdm", "entity": entity, "bucket": self.bucket()}}
        if operation == "UpsertBucket":
            bucket = {"id": "Qg==", "name": variables["name"], "displayName": "a", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": not self.history}}
        if operation == "ArtifactMembershipByName":
            return {"project": {"artifactCollectionMembership": self.membership(project, variables["name"])}}
        if operation == "FetchArtifactManifest":
            return {"artifact": {"currentManifest": {"file": {"directUrl": f"{self.url}/manifest"}}}}
        if operation == "GetArtifactMembershipFileUrls":
            nodes = [
                {"__typename": "File", "name": path, "directUrl": f"{self.url}/file/{path}"}
                for path in self.files
            ]
            files = {
                "pageInfo": {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False},
                "edges": [{"node": node} for node in nodes],
            }
            collection = {"__typename": "ArtifactSequence", "artifactMembership": {"files": files}}
            return {"project": {"artifactCollection": collection}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "Qg==", "uploadHeaders": [], "files": files}}
        return {"viewer": {"id": "Vg==", "entity": "someone", "username": "someone", "flags": "{}"}}

    def bucket(self):
        """The run as one that resumes it sees it."""
        if not self.history:
            return None
        return {
            "id": "Qg==",
            "name": "the-id",
            "wandbConfig": json.dumps({"t": 1}),
            "tags": [],
            "notes": None,
            "displayName": "a",
            "summaryMetrics": "{}",
            "config": "{}",
            "logLineCount": 0,
            "historyLineCount": len(self.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(self.history[-1])]),
            "eventsTail": "[]",
        }

    def membership(self, project, name):
        if name not in ("model:v3", "model:latest"):
            return None
        collection = {"__typename": "ArtifactSequence", "id": "Qw==", "name": "model", "project": project}
        artifact = {
            "__typename": "Artifact",
            "id": "QXJ0",
            "artifactSequence": collection,
            "versionIndex": 3,
            "artifactType": {"name": "model"},
            "description": None,
            "metadata": "{}",
            "ttlDurationSeconds": -1,
            "ttlIsInherited": False,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": 6,
            "digest": "d",
            "commitHash": "c",
            "fileCount": len(self.files),
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": None,
        }
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": "TQ==",
            "versionIndex": 3,
            "createdAt": "2026-01-01T00:00:00Z",
            "aliases": [],
            "artifactCollection": collection,
            "artifact": artifact,
        }


def manifest(files, refs):
    """What W&B serves as the manifest of an artifact of these files."""
    contents = {
        path: {
            "digest": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "size": len(data),
            **({"ref": refs[path]} if path in refs else {}),
        }
        for path, data in files.items()
    }
    policy = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
    return {"version": 1, **policy, "contents": contents}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.paths.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.hang.is_set():
            self.server.released.wait()
            return
        if self.path == "/graphql":
            operation = re.search(r"(?:query|mutation) (\w+)", body["query"])[1]
            answer = self.server.answer(operation, body.get("variables"))
            self.send(json.dumps({"data": answer}).encode())
        elif self.server.refuses_metrics:
            self.send(b"{}", status=403)
        else:
            lines = body.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.server.history += map(json.loads, lines)
            self.send(json.dumps({"stopped": self.server.stop_requested}).encode())

    def do_GET(self):
        self.server.paths.append(self.path)
        if self.path == "/manifest":
            self.send(json.dumps(manifest(self.server.files, {})).encode())
        else:
            self.send(self.server.served[self.path.removeprefix("/file/")])

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send(b"")

    def send(self, data, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch, caplog):
    """A user without credentials, in an empty folder."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name in ("WANDB_ERROR_REPORTING", "WANDB_SERVICE"):  # the client's side sets them
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "remdm")


@pytest.fixture
def server(monkeypatch):
    server = FakeServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.stop()


@pytest.fixture
def hanging(monkeypatch):
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield


def in_the_client(tmp_path, monkeypatch, code):
    """Run code at the start of the client's process."""
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'start'}:{REPOSITORY}")


def ended(pid, seconds):
    """Whether a process, which need not be a child of ours, is gone in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def children(pid):
    return [int(child) for child in subprocess.getoutput(f"ps -o pid= --ppid {pid}").split()]


def recorded(folder):
    """The records in a run's `.wandb` file, which is a LevelDB log after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    data, at, parts, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(parts))
            parts = b""
    return records


def history(records):
    rows = [record.history for record in records if record.HasField("history")]
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row.item}
        for row in rows
    ]


def offline_run(tmp_path):
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    return folder


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "remdm"]


# Recording


def test_without_credentials_it_records_offline(tmp_path, caplog):
    hooks = sys.exit, sys.excepthook
    tracker = Tracker(runtime(wandb_entity="us"), "the-id", "a name", {"lr": 0.5})
    tracker.log(ROWS)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1234")
    tracker.upload("offline-bc", tmp_path / "model", {"frames": 192})
    tracker.close()

    folder = offline_run(tmp_path)
    records = recorded(folder)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.project, run.entity, run.display_name) == ("the-id", "remdm", "us", "a name")
    assert {item.key: item.value_json for item in run.config.update}["lr"] == "0.5"
    wanted = [{"_step": row["update"], **row} for row in ROWS]
    for row in wanted:
        del row["update"]
    assert [{key: row.get(key) for key in wanted[0]} for row in history(records)] == wanted
    metrics = {record.metric.name or record.metric.glob_name: record.metric for record in records}
    assert metrics["*"].step_metric == "frames"
    (artifact,) = [
        record.request.log_artifact.artifact for record in records if record.request.HasField("log_artifact")
    ] or [record.artifact for record in records if record.HasField("artifact")]
    assert (artifact.name, artifact.type, json.loads(artifact.metadata)) == (
        "offline-bc",
        "model",
        {"frames": 192},
    )
    (message,) = messages(caplog)
    assert "no credentials" in message
    assert f"`wandb sync {folder}`" in message
    assert (sys.exit, sys.excepthook) == hooks


@pytest.mark.parametrize(("mode", "runs"), [("offline", 1), ("disabled", 0)])
def test_the_users_mode_is_kept(mode, runs, tmp_path, server, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", mode)
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == runs
    assert len(messages(caplog)) == runs
    assert not server.paths


SETTINGS = [Path("wandb", "settings"), Path(".config", "wandb", "settings")]  # of the folder, of the user


def settle(path, **entries):
    """Write a file of W&B's settings, as `wandb offline`, `wandb disabled` and `wandb login --host` do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[default]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items()))


KEPT = [(mode, runs, file) for mode, runs in (("offline", 1), ("disabled", 0)) for file in SETTINGS]


@pytest.mark.parametrize(
    ("mode", "runs", "file"), slow_except(KEPT, [("offline", 1, SETTINGS[1]), ("disabled", 0, SETTINGS[0])])
)
def test_a_mode_in_the_users_settings_is_kept_and_named(mode, runs, file, tmp_path, server, caplog):
    settle(tmp_path / file, mode=mode)
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == runs
    [message] = messages(caplog)
    assert f"mode = {mode} in {tmp_path / file}" in message
    assert not server.paths


WRONG = [
    ("mode = nonsense\n", None, "mode = 'nonsense': Input should be 'online'"),
    (
        "[default]\nmode = disabled\ncolour = red\n",
        None,
        "colour = 'red': Extra inputs are not permitted",
    ),
    ("garbage\n", None, ".config/wandb/settings: File contains no section headers"),
    (None, "nonsense", "mode = 'nonsense': Input should be 'online'"),
]


@pytest.mark.parametrize(("file", "variable", "named"), slow_except(WRONG, WRONG[2:]))
def test_settings_that_are_none_are_named(file, variable, named, tmp_path, monkeypatch, caplog):
    if file is not None:
        settle(tmp_path / SETTINGS[1])
        path = tmp_path / SETTINGS[1]
        path.write_text(file if file == "garbage\n" or "[" in file else f"[default]\n{file}")
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    assert [named in message for message in messages(caplog)].count(True) == 1, messages(caplog)


def test_the_server_that_has_no_login_is_named(tmp_path, caplog):
    """One of old, to which nobody is logged in any more."""
    settle(tmp_path / SETTINGS[1], base_url="https://old.example")
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    [message] = messages(caplog)
    assert "recording offline (no credentials for https://old.example)" in message
    assert "them for https://old.example, or" in refused("wandb:someone/remdm/model:v3", tmp_path)


@pytest.mark.slow
def test_a_proxy_that_is_gone_is_named(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "INIT_SECONDS", 3.0)
    settle(tmp_path / SETTINGS[1], http_proxy="http://127.0.0.1:9")
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    assert not server.paths
    [message] = messages(caplog)
    assert "recording offline (" in message
    assert KEY not in message


def test_a_stored_login_is_enough(server, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1:{server.server_port} login user password {KEY}\n")
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    assert len(server.history) == len(ROWS)


def test_online_rows_arrive_and_a_resumed_run_goes_on(server, tmp_path, caplog):
    for rows in (ROWS[:2], ROWS):
        tracker = Tracker(runtime(), "the-id", "a name", {})
        tracker.log(rows)
        tracker.close()
    assert [row["_step"] for row in server.history if "_step" in row] == [1, 2, 3]
    assert [row["diffusion/loss"] for row in server.history] == [1, 1 / 2, 1 / 3]
    assert len(messages(caplog)) == 2
    assert all("the-id" in message for message in messages(caplog))


def test_ids_are_the_clients_and_differ():
    import wandb

    ids = {new_run_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(wandb.Settings(run_id=name).run_id == name for name in ids)


# Trouble


def test_rows_beyond_the_queue_are_dropped_and_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "QUEUED_ROWS", 2)
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)  # before the client has even been imported
    tracker.log(ROWS)
    tracker.close()
    assert [row["_step"] for row in history(recorded(offline_run(tmp_path)))] == [1, 2]
    assert "missed 4 rows" in messages(caplog)[-1]


def test_without_an_answer_it_records_offline(hanging, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "INIT_SECONDS", 1.0)
    start = time.monotonic()
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    assert time.monotonic() - start < 1.0
    tracker.close()
    assert time.monotonic() - start < 20.0
    folder = offline_run(tmp_path)
    assert [row["_step"] for row in history(recorded(folder))] == [1, 2, 3]
    (message,) = messages(caplog)
    assert "recording offline" in message
    assert f"`wandb sync {folder}`" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("close", "init", "said"),
    [
        ("0.1", "60", "left behind; nothing of this run has reached it"),
        ("3", "60", "left behind; nothing of this run has reached it"),
        ("30", "1", "recording offline"),
    ],
    ids=["importing", "connecting", "given up"],
)
def test_a_hanging_server_holds_neither_close_nor_exit(hanging, close, init, said):
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, close, init], capture_output=True, text=True, timeout=120
    )
    assert time.monotonic() - start < 18.0  # left to itself, the client takes 20 s and more
    assert process.returncode == 0
    assert said in process.stderr
    assert "Traceback" not in process.stderr
    assert KEY not in process.stdout + process.stderr


def test_a_server_that_stops_answering_leaves_the_rows_on_disk(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 1.0)
    tracker = Tracker(runtime(), "the-id", "a name", {})
    while not messages(caplog):
        time.sleep(0.05)
    server.hang.set()
    tracker.log(ROWS)
    tracker.close()
    (folder,) = tmp_path.glob("wandb/run-*")
    assert [row["_step"] for row in history(recorded(folder))] == [1, 2, 3]
    assert f"within 1 s; `wandb sync {folder}`" in messages(caplog)[-1]


def test_what_the_client_warns_of_is_said_once(server, tmp_path, monkeypatch, caplog):
    code = """
import wandb
finish = wandb.Run.finish
def chatty(run, exit_code):
    finish(run, exit_code)
    wandb.termwarn("a warning\\nof two lines")
    wandb.termwarn("a warning\\nof two lines")
    wandb.termlog("chatter")
wandb.Run.finish = chatty
"""
    in_the_client(tmp_path, monkeypatch, code)
    server.refuses_metrics = True
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    assert messages(caplog)[2:] == ["W&B: a warning"]
    assert sum("Fatal error while uploading data" in message for message in messages(caplog)) == 1


def test_its_page_cannot_stop_the_run(server, tmp_path, caplog, monkeypatch):
    code = """
from wandb.sdk.lib import run_stopping
sleep = run_stopping._SLEEP
run_stopping._SLEEP = lambda _: sleep(0.05)
"""
    in_the_client(tmp_path, monkeypatch, code)
    server.stop_requested = True
    tracker = Tracker(runtime(), "the-id", "a name", {})
    deadline = time.monotonic() + 20.0
    while len(messages(caplog)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # the client's own answer is a KeyboardInterrupt of its process
    tracker.close()
    assert sum("asked to stop" in message for message in messages(caplog)) == 1


def test_a_client_that_raises_stops_tracking_alone(tmp_path, monkeypatch, caplog):
    code = f"""
import wandb
def init(**settings):
    raise RuntimeError("http://us:secret@host refuses {KEY}\\nand more")
wandb.init = init
"""
    in_the_client(tmp_path, monkeypatch, code)
    monkeypatch.setattr(tracking, "QUEUED_ROWS", 1)  # nobody empties the queue any more
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker._thread.join()
    tracker.log(ROWS)
    tracker.upload("model", Path(), {})
    tracker.close()
    (message,) = messages(caplog)
    assert message.endswith("training continues: http://***host refuses ***")


@pytest.mark.parametrize("whose", slow_except(["client", "its service"], ["its service"]))
def test_a_client_that_crashes_stops_tracking_alone(whose, caplog):
    tracker = Tracker(runtime(), "the-id", "a name", {})
    while not messages(caplog):
        time.sleep(0.05)
    client = tracker._client.pid
    (service,) = children(client)
    os.kill(client if whose == "client" else service, signal.SIGKILL)
    assert ended(service, 10.0)
    tracker.log(ROWS)
    tracker.close()
    assert "tracking stops, training continues" in messages(caplog)[-1]


def test_a_missing_client_stops_tracking_alone(tmp_path, monkeypatch, caplog):
    in_the_client(tmp_path, monkeypatch, "import sys; sys.modules['wandb'] = None")
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    (message,) = messages(caplog)
    assert "tracking stops, training continues" in message


def test_a_client_that_cannot_be_started_stops_tracking_alone(monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    (message,) = messages(caplog)
    assert "tracking stops, training continues" in message


@pytest.mark.parametrize(
    ("state", "close"), slow_except([("recording", "600"), ("connecting", "1")], [("connecting", "1")])
)
def test_the_client_ends_after_the_process_that_trains(state, close, request, tmp_path):
    """So does its service; a client that waits for a server is ended, others see that no more will come."""
    if state == "connecting":
        request.getfixturevalue("hanging")
    waiting = "while tracker._commands.qsize(): time.sleep(0.1)\nprint('sent', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", SCRIPT.replace("tracker.close()", waiting), close, "60"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, **pipes) as process:
        if state == "recording":
            assert process.stdout.readline() == b"sent\n"
        while not (clients := children(process.pid)) or not children(clients[0]):
            time.sleep(0.05)
        (client,) = clients
        (service,) = children(client)
        assert os.getpgid(client) not in (process.pid, os.getpgid(0))  # Ctrl-C does not reach it
        process.kill()
    assert ended(client, 15.0)
    assert ended(service, 15.0)
    if state == "recording":
        assert [row["_step"] for row in history(recorded(offline_run(tmp_path)))] == [1, 2, 3]


def test_nothing_of_the_working_folder_is_imported(server, tmp_path):
    for name in ("wandb", "json", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    tracker = Tracker(runtime(), "the-id", "a name", {})
    tracker.log(ROWS)
    tracker.close()
    assert len(server.history) == len(ROWS)
    fetch("wandb:someone/remdm/model:latest", tmp_path / "down")
    assert not (tmp_path / "imported").exists()


# Fetching


def test_an_artifact_is_fetched_once(server, tmp_path):
    folder = fetch("wandb:someone/remdm/model:latest", tmp_path / "down")
    assert folder == tmp_path / "down" / "someone" / "remdm" / "model" / "v3"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == server.files
    assert {path.name for path in (tmp_path / "down").iterdir()} == {"someone"}

    server.paths.clear()
    assert fetch("wandb:someone/remdm/model:v3", tmp_path / "down") == folder
    assert not [path for path in server.paths if path.startswith("/file/")]

    (folder / "norm.json").write_text("[]")
    with pytest.raises(UserError, match=r"model/v3 differs from the artifact in W&B .*; remove it"):
        fetch("wandb:someone/remdm/model:v3", tmp_path / "down")


def refused(reference, tmp_path):
    """Why a fetch is refused, in one line, having left nothing behind."""
    with pytest.raises(UserError) as error:
        fetch(reference, tmp_path / "down")
    assert not (tmp_path / "down").exists() or not list((tmp_path / "down").iterdir())
    assert "\n" not in str(error.value)
    assert KEY not in str(error.value)
    return str(error.value)


def test_an_artifact_that_leaves_its_folder_is_not_fetched(server, tmp_path):
    server.files["../../evil"] = b"x"
    message = refused("wandb:someone/remdm/model:v3", tmp_path)
    assert message.startswith("wandb:someone/remdm/model:v3: ")
    assert "'../../evil'" in message
    assert not [path for path in server.paths if path.startswith("/file/")]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("path", "ref"),
    [
        ("../evil", None),
        ("a/../../evil", None),
        ("/evil", None),
        ("..", None),
        ("", None),
        (".", None),
        ("..\\evil", None),
        ("C:/evil", None),
        ("a\nb", None),
        ("secret", "file:///etc/passwd"),
    ],
)
def test_entries_are_checked(path, ref):
    from wandb.sdk.artifacts.artifact_manifest import ArtifactManifest

    def artifact(files):
        loaded = ArtifactManifest.from_manifest_json(manifest(files, {path: ref} if ref else {}))
        return SimpleNamespace(version="v3", manifest=loaded)

    wandb_client._check(artifact({"model/weights": b"1"}))
    with pytest.raises(UserError) as error:
        wandb_client._check(artifact({"model/weights": b"1", path: b"x"}))
    assert repr(path) in str(error.value)


def test_a_damaged_download_is_not_kept(server, tmp_path):
    server.served["norm.json"] = b"[]"
    assert "norm.json" in refused("wandb:someone/remdm/model:v3", tmp_path)


def test_a_missing_artifact(server, tmp_path):
    message = refused("wandb:someone/remdm/model:v9", tmp_path)
    assert message.startswith("wandb:someone/remdm/model:v9: ")
    assert "not found" in message


def test_no_credentials(tmp_path):
    assert "no credentials; `wandb login`" in refused("wandb:someone/remdm/model:v3", tmp_path)


@pytest.mark.slow
def test_no_answer(hanging, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")
    assert "did not respond in time" in refused("wandb:someone/remdm/model:v3", tmp_path)
    monkeypatch.setattr(tracking, "FETCH_SECONDS", 0.5)
    assert "longer than" in refused("wandb:someone/remdm/model:v3", tmp_path)


def test_nowhere_to_download_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/down: cannot be written"):
        fetch("wandb:someone/remdm/model:v3", tmp_path / "file" / "down")


@pytest.mark.parametrize(
    "reference",
    [
        "wandb:",
        "wandb:model",
        "wandb:model:",
        "wandb::v3",
        "wandb:/model:v3",
        "wandb:../model:v3",
        "wandb:a/b/c/model:v3",
        "wandb:a//model:v3",
        "wandb:model:v3/..",
        "wandb:model:v3\n",
        "wandb:a\\model:v3",
        "wandb:--help:v3",
    ],
)
def test_a_malformed_reference_is_refused_before_anything_else(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **keys: pytest.fail("a process was started"))
    assert is_reference(reference)
    with pytest.raises(UserError, match="not of the form wandb:entity/project/name:version"):
        fetch(reference, tmp_path / "down")
    assert not (tmp_path / "down").exists()


@pytest.mark.parametrize("path", ["runs/a", "/wandb:/a", "./wandb:a/b", ""])
def test_paths_are_not_references(path):
    assert not is_reference(path)
