"""The competition's whole way, against a server that speaks Kaggle's protocol."""

import csv
import io
import re
import shlex
import zipfile

import pytest
import yaml
from kaggle_server import TOKEN, KaggleServer, lost

from pipeline.data.demo import render_demo

pytestmark = pytest.mark.smoke


@pytest.fixture
def competition(tmp_path, bare_server: KaggleServer):
    """Serve the files a competitor gets of a rendered demo."""
    root = tmp_path / "demo"
    render_demo(
        root, seed=0, tile_px=96, train_tiles=24, test_tiles=8, empty_share=0.5, max_ship_px=60
    )
    served = io.BytesIO()
    with zipfile.ZipFile(served, "w") as archive:
        for path in sorted(root.rglob("*.*")):
            if "hidden" not in path.parts and path.name not in {"scenes.csv", "demo.json"}:
                archive.write(path, path.relative_to(root))
    bare_server.archive = served.getvalue()
    bare_server.pending_looks = 0
    return bare_server


def ledger(checkout):
    with (checkout.folder / "submissions" / "ledger.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def quick(checkout):
    """Train less and a smaller network than the competition's own configuration says."""
    configs = checkout.folder / "configs"
    (configs / "airbus.yaml").rename(configs / "full.yaml")
    tiny = yaml.safe_load((checkout.folder / "tests" / "tiny.yaml").read_text())
    demo = yaml.safe_load((configs / "demo.yaml").read_text())
    less = {section: tiny[section] for section in ("crops", "train", "finetune", "predict")}
    less |= {"base": "full.yaml", "folds": {"count": 2}, "network": demo["network"]}
    less |= {"machine": {"loader_workers": 0, "threads": 1}}
    (configs / "airbus.yaml").write_text(yaml.safe_dump(less))
    return checkout


def test_the_readmes_commands_go_from_an_empty_disk_and_a_token_to_a_score(competition, quick):
    readme = (quick.folder / "README.md").read_text()
    section = readme.split("## The real competition")[1].split("```")[1]
    (program, config, *upload), refresh = (
        shlex.split(line, comments=True)
        for line in section.splitlines()
        if line.startswith(("./run.sh", "python"))
    )
    assert upload == ["--upload", "first try"]
    assert "credentials" in quick.run(config, "--to", "data", program=program, code=2)
    assert "credentials" in quick.run(config, *upload, program=program, code=2)
    assert not (quick.folder / "folds").exists()  # told before the work

    assert "export KAGGLE_API_TOKEN=..." in section
    quick.environment["KAGGLE_API_TOKEN"] = TOKEN
    quick.run_in_one_process(config)
    assert len(list((quick.folder / "data" / "airbus" / "train_v2").iterdir())) == 24
    assert competition.submissions == []  # nothing leaves the machine without --upload

    competition.fail("CreateSubmission", lost)
    output = quick.run(config, *upload, program=program)
    assert "public score 0.81234, private score 0.83456" in output
    (sent,) = competition.submissions
    (row,) = ledger(quick)
    assert sent["description"] == f"[{row['tag']}] first try"
    assert (row["message"], row["ref"], row["status"]) == ("first try", "1000", "COMPLETE")
    uploaded = list(competition.uploads.values())[-1]
    assert uploaded == (quick.folder / "submissions" / row["file"]).read_bytes()

    quick.run(config, "--upload", "again", "--from", "submit", "--to", "submit")
    assert len(competition.submissions) == 1  # the same file is the same submission
    output = quick.run_module(*refresh[2:])
    assert re.search(r"airbus .*COMPLETE .*0\.81234 +0\.83456", output)


def test_a_demo_is_not_sent(checkout):
    output = checkout.run("tests/tiny.yaml", "--upload", "demo", code=2)
    assert "--upload: this run is on the rendered demo" in output
    assert not (checkout.folder / "data").exists()  # told before the work
    (checkout.folder / "given").mkdir()
    (checkout.folder / "given" / "demo.json").write_text("{}")
    output = checkout.run("tests/tiny.yaml", "data.root=given", "--upload", "demo", code=2)
    assert "--upload: this run is on the rendered demo" in output


def test_a_message_that_is_no_text_is_not_sent(checkout):
    message = b"caf\xe9".decode(errors="surrogateescape")
    told = checkout.run_module(
        "pipeline.s6_submit", "--check", "--upload", message, "data.root=data", code=2
    )
    assert r"--upload: expected text in UTF-8, got 'caf\udce9'" in told


def test_scores_of_earlier_submissions_are_refreshed(competition, checkout):
    competition.submissions.append({"ref": 7, "description": "[a-1234] m", "looks": 0})
    folder = checkout.folder / "submissions"
    folder.mkdir()
    header = "hash,run,file,created_utc,oof_f2,message,commit,tag,ref,status,public_score"
    row = "1234,a,a-1234.csv,2026-01-01T00:00:00+00:00,0.83,m,,a-1234,,,,"
    (folder / "ledger.csv").write_text(f"{header},private_score\n{row}\n")
    checkout.environment["KAGGLE_API_TOKEN"] = TOKEN
    output = checkout.run_module("pipeline.s6_submit", "--scores")
    assert re.search(r"a +1234 .*COMPLETE +0\.83000 +0\.81234 +0\.83456 +\+0\.00456", output)
    assert ledger(checkout)[0]["private_score"] == "0.83456"
