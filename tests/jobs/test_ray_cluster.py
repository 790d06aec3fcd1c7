"""Tasks on a real Ray cluster of this machine's processes, one node of which is lost."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, Stopped
from pipeline.jobs.launch import launch
from pipeline.jobs.ray_cluster import Cluster

ray = pytest.importorskip("ray", reason="needs Ray: pip install '.[cluster]'")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.smoke

ONE_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def nodes():
    """Two nodes with a core each, the first of which is the head."""
    head = ONE_NODE | {"include_dashboard": False}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(Path.cwd()))
        nodes = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        nodes.add_node(**ONE_NODE)
        nodes.wait_for_nodes()
        patched.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def connected(nodes):
    """Return a function that connects as a stage of its own would."""
    yield lambda: Cluster("auto", device="cpu")
    ray.shutdown()


def when(condition, action):
    """Do something from a thread of its own as soon as the condition holds."""

    def wait():
        while not condition():
            time.sleep(0.05)
        action()

    threading.Thread(target=wait, daemon=True).start()


def begun(task):
    return task.log.is_file() and task.log.read_text().count("begins")


def test_a_lost_node_costs_a_retry_and_no_task(tmp_path, make_tasks, nodes, connected):
    tasks = make_tasks("0", "1", sleep_s=5)
    lost = next(iter(nodes.worker_nodes))
    when(
        lambda: all(map(begun, tasks)),
        lambda: nodes.remove_node(lost, allow_graceful=False),
    )
    assert launch(tasks, connected()) == 0
    assert sorted(begun(task) for task in tasks) == [1, 2]
    records = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("seen-*"))]
    assert len(records) == 2
    assert max(one["start"] for one in records) > min(one["end"] for one in records)


def test_a_failed_task_ends_the_others_and_is_not_tried_again(make_tasks, connected, caplog):
    tasks = make_tasks("0", "1", failing="0,1", sleep_s=60)
    assert launch(tasks, connected()) == 1
    assert all(begun(task) <= 1 for task in tasks)
    assert "has a reason" in caplog.text


def test_sigterm_ends_what_runs_on_the_nodes(tmp_path, make_tasks, connected):
    (task,) = make_tasks("0", sleep_s=60)
    when(lambda: begun(task), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        launch([task], connected())
    assert not list(tmp_path.glob("seen-*"))


def test_without_a_cluster_it_says_so(monkeypatch):
    def no_cluster(**_):
        raise ConnectionError("could not find any running Ray instance")

    monkeypatch.setattr(ray, "init", no_cluster)
    with pytest.raises(ConfigError, match=r"no Ray cluster found .*RAY_ADDRESS"):
        Cluster("auto", device="cpu")


def test_without_ray_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install '.\[cluster\]'"):
        Cluster("auto", device="cpu")


@pytest.mark.parametrize(
    ("device", "processes", "tasks", "expected"),
    [
        ("auto", 1, 5, (5, 12)),
        ("cuda", 4, 2, (2, 32)),
        ("cuda", 8, 9, (1, 32)),
        ("cpu", 1, 9, (9, 8)),
    ],
)
def test_tasks_ask_for_gpus_and_for_their_share_of_the_cores(
    monkeypatch, device, processes, tasks, expected
):
    """Nodes with 8, 4 and 0 GPUs; what a task asks for fits onto each node that may get it."""
    resources = [{"CPU": 32.0, "GPU": 8.0}, {"CPU": 32.0, "GPU": 4.0}, {"CPU": 8.0}]
    nodes = [{"Alive": True, "Resources": each} for each in resources]
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, {"Alive": False, "Resources": {}}])
    cluster = Cluster("auto", device=device)
    places = min(cluster.places(processes), tasks)
    assert (places, cluster.cores(places, processes)) == expected


def test_a_task_larger_than_every_node_is_refused(monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}])
    with pytest.raises(ConfigError, match=r"at least 1 GPU, .* got 1 nodes without"):
        Cluster("auto", device="cuda").places(1)
