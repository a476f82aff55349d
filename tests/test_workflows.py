"""The workflows in ``.github/``, as far as they can be checked without GitHub."""

import re

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAY = {"contents": "read"}
MAY_PUBLISH = {"pages": "write", "id-token": "write"}


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_there_are_workflows():
    assert {path.stem for path in WORKFLOWS} == {"tests", "weekly", "pages"}


def test_what_they_call_is_there(path):
    targets = set(re.findall(r"^([.\w-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    called = re.findall(r"\bmake ([.\w-]+)", re.sub(r"#.*", "", path.read_text(encoding="utf-8")))
    assert called
    assert set(called) <= targets


def test_they_may_do_little_end_and_do_not_pile_up(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == MAY
    assert "cancel-in-progress" in workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 180
        assert job.get("permissions", MAY) in (MAY, MAY_PUBLISH)
        if "permissions" in job:  # what may publish runs nothing of ours
            assert [step.get("run") for step in job["steps"]] == [None] * len(job["steps"])
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_actions_are_pinned_to_commits(path):
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", action), action


def test_no_event_that_lends_strangers_our_rights(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    events = workflow[True]  # as YAML 1.1 reads "on"
    assert set(events) <= {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert "${{ github.event" not in path.read_text(encoding="utf-8")
