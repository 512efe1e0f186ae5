import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

import fggb_jax as fx
import networks
from fggb_jax import cli
from fggb_jax.cli import recognizer
from fggb_jax.data import samples
from fggb_jax.models import calibration

CARD = fx.Card("bare", (112, 112))
FILES = {"result.json", "maps.npz", "figure.png", "report.html"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Aligned samples as files, and a small recognizer with its card."""
    folder = tmp_path_factory.mktemp("faces")
    card = fx.cards()["sface"]
    for name in samples.NAMES:
        Image.fromarray(samples.chip(name, card)).save(folder / f"{name}.png")
    onnx.save(networks.iresnet((1, 1, 1, 1), width=4, dimension=16), folder / "small.onnx")
    (folder / "small.toml").write_text(
        'name = "small"\nsize = [112, 112]\nthreshold = 0.5\nthreshold_source = "a guess"\n'
    )
    return folder


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Tests share one process: its compilation cache stays as it is."""
    monkeypatch.setattr(recognizer, "use_compilation_cache", lambda: None)


def run(capsys, *arguments):
    """(status, standard output, standard error) of `fggb …`."""
    monkey = pytest.MonkeyPatch()
    monkey.setattr(sys, "argv", ["fggb", *map(str, arguments)])
    try:
        cli.main()
        status = 0
    except SystemExit as error:
        status = error.code
    finally:
        monkey.undo()
    out, err = capsys.readouterr()
    return status or 0, out, err


QUICK = ("--method", "centre")  # where the map is not what is asked about


def explain(capsys, faces, probe, gallery, *more, model="small.onnx"):
    return run(
        capsys,
        "explain",
        faces / probe,
        faces / gallery,
        "--aligned",
        "--model",
        faces / model,
        *more,
    )


def test_explain_writes_everything(faces, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    status, said, err = explain(capsys, faces, "obama_a.png", "biden.png", "--out", out)
    assert (status, err) == (0, "")
    assert {p.name for p in out.iterdir()} == FILES
    result = json.loads((out / "result.json").read_text("utf-8"))
    needed = {"cosine", "threshold", "threshold_source", "decision", "method", "model"}
    assert needed | {"model_sha256", "precision", "device", "versions"} <= result.keys()
    assert result["decision"] in said
    assert f"{result['cosine']:.4f}" in said
    maps = np.load(out / "maps.npz")
    assert maps["probe_signed"].shape == (112, 112)
    t = np.float32(result["threshold"])
    np.testing.assert_allclose(maps["probe_signed"], maps["probe_p"] - t * maps["probe_q"])
    with Image.open(out / "figure.png") as figure:
        assert figure.size[0] > 1000


def test_another_method_with_its_options(faces, tmp_path, capsys):
    asked = ("--method", "occlusion:size=30:forwards=4", "--out", tmp_path, "--json")
    status, out, err = explain(capsys, faces, "obama_a.png", "biden.png", *asked)
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["method"] == "occlusion"
    assert (found["options"]["size"], found["options"]["forwards"]) == (30, 4)
    assert {p.name for p in tmp_path.iterdir()} == FILES
    for method, message in (
        ("occlusion:shape=round", "has no option shape"),
        ("occlusion:smooth=3", "smooth= are of `fggb evaluate`"),
    ):
        status, out, err = explain(capsys, faces, "obama_a.png", "biden.png", "--method", method)
        assert (status, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1


def test_json_is_the_result_alone(faces, tmp_path, capsys):
    status, said, _ = explain(
        capsys,
        faces,
        "obama_a.png",
        "obama_b.png",
        "--json",
        "--threshold",
        "0.2",
        "--gradient",
        "signed",
        "--out",
        tmp_path,
    )
    result = json.loads(said)
    assert status == 0
    assert (result["threshold"], result["threshold_source"]) == (0.2, "given")
    assert result["options"]["gradient"] == "signed"
    assert result == json.loads((tmp_path / "result.json").read_text("utf-8"))


def test_another_size_is_resized_with_a_note(faces, tmp_path, capsys):
    Image.open(faces / "biden.png").resize((224, 224)).save(tmp_path / "large.png")
    status, _, err = explain(
        capsys, faces, "obama_a.png", tmp_path / "large.png", "--out", tmp_path / "out", *QUICK
    )
    assert status == 0
    assert "note:" in err
    assert "resized from 224×224 to 112×112" in err


def test_grey_is_used_with_a_note(faces, tmp_path, capsys):
    Image.open(faces / "biden.png").convert("L").save(tmp_path / "grey.png")
    status, _, err = explain(
        capsys, faces, "obama_a.png", tmp_path / "grey.png", "--out", tmp_path / "out", *QUICK
    )
    assert status == 0
    assert "grey converted to RGB" in err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["none.png", "biden.png"], 1, "no such image"),
        (["small.toml", "biden.png"], 1, "is not an image"),
        (["biden.png", "biden.png"], 1, "are the same image"),
        (["wide.png", "biden.png"], 1, "other proportions"),
        (["obama_a.png", "biden.png", "--threshold", "7"], 2, "threshold is '7'"),
        (["obama_a.png", "biden.png", "--threshold", "high"], 2, "threshold is 'high'"),
        (["obama_a.png", "biden.png", "--method", "lrp"], 2, "no method 'lrp'"),
        (["obama_a.png", "biden.png", "--gradient", "abs"], 2, "gradient is 'abs'"),
        (["obama_a.png", "biden.png", "--norms", "mean"], 2, "norms is 'mean'"),
        (["obama_a.png", "biden.png", "--norms", "top"], 2, "needs gradient='signed'"),
        (["obama_a.png", "biden.png", "--model", "none.onnx"], 1, "neither a model's name nor"),
        (["obama_a.png", "biden.png", "--model", "{faces}/small.toml"], 1, "small.toml"),
    ],
)
def test_bad_input_is_one_line(faces, tmp_path, capsys, arguments, status, message):
    Image.new("RGB", (112, 60)).save(faces / "wide.png")
    given = [a.replace("{faces}", str(faces)) for a in arguments]
    got, out, err = explain(capsys, faces, *given[:2], *given[2:], "--out", tmp_path / "out")
    assert got == status
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name in samples.NAMES:
        Image.fromarray(samples.photograph(name)).save(folder / f"{name}.png")
    Image.new("RGB", (200, 160), "gray").save(folder / "wall.png")
    return folder


def test_faces_are_found_in_photographs(dlib_proto, photographs, tmp_path, capsys):
    status, said, err = run(
        capsys,
        "explain",
        photographs / "obama_a.png",
        photographs / "biden.png",
        *("--out", tmp_path, *QUICK),
    )
    assert (status, err) == (0, "")
    assert said.startswith("reject")
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert abs(result["cosine"] - 0.814) < 0.02
    assert result["detector"] == "dlib-mmod, dlib-5"
    assert "On the photographs" in (tmp_path / "report.html").read_text("utf-8")


def test_given_landmarks_need_no_detector(faces, photographs, tmp_path, capsys):
    """The shipped landmarks, with a card of the ArcFace template."""
    card = (
        faces / "small.toml"
    ).read_text() + 'landmarks = "arcface-5"\ntemplate = "arcface-112"\n'
    (tmp_path / "placed.toml").write_text(card.replace('"small"', '"placed"'))
    (tmp_path / "placed.onnx").write_bytes((faces / "small.onnx").read_bytes())
    photos = samples.landmarks()["photos"]
    given = {str(photographs / f"{n}.png"): photos[f"{n}.jpg"] for n in samples.NAMES}
    (tmp_path / "landmarks.json").write_text(json.dumps({"photos": given}))
    status, _, err = run(
        capsys,
        "explain",
        photographs / "obama_a.png",
        photographs / "biden.png",
        "--model",
        tmp_path / "placed.onnx",
        "--landmarks",
        tmp_path / "landmarks.json",
        *("--out", tmp_path / "out", *QUICK),
    )
    assert (status, err) == (0, "")
    maps = np.load(tmp_path / "out" / "maps.npz")
    shipped = samples.chip("biden", fx.cards()["sface"])
    assert np.abs(maps["gallery"].astype(float) - shipped).mean() < 5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["wall.png", "biden.png"], 1, "no face found in"),
        (["obama_a.png", "biden.png", "--face", "left"], 2, "face is 'left'"),
        (["obama_a.png", "biden.png", "--face", "3"], 1, "there is no face 3"),
        (["obama_a.png", "biden.png", "--landmarks", "none.csv"], 1, "no such file of landmarks"),
    ],
)
def test_faces_that_are_not_found_are_one_line(
    dlib_proto, photographs, tmp_path, capsys, arguments, status, message
):
    paths = [photographs / a for a in arguments[:2]]
    got, out, err = run(capsys, "explain", *paths, *arguments[2:], "--out", tmp_path / "out")
    assert (got, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_card_without_alignment_wants_aligned_faces(faces, photographs, capsys):
    status, _, err = run(
        capsys,
        "explain",
        photographs / "obama_a.png",
        photographs / "biden.png",
        "--model",
        faces / "small.onnx",
    )
    assert status == 1
    assert "does not say how faces are aligned" in err


def test_verify_counts_scores_and_names_what_it_drops(faces, tmp_path, capsys):
    names = ["obama_a.png,obama_b.png,1", "obama_b.png,obama_a.png,1", "obama_a.png,biden.png,0"]
    rows = [*names, "obama_b.png,biden.png,0", "gone.png,biden.png,0"]
    (faces / "pairs.csv").write_text("\n".join(["probe,gallery,same", *rows]) + "\n")
    status, out, err = run(
        capsys,
        "verify",
        faces / "pairs.csv",
        "--model",
        faces / "small.onnx",
        "--aligned",
        "--json",
        "--out",
        tmp_path,
    )
    assert status == 1
    found = json.loads(out)
    assert (found["pairs"], found["dropped"], found["genuine"], found["impostor"]) == (5, 1, 2, 2)
    assert {"eer", "auc", "accuracy", "threshold", "tar_at_far"} <= found.keys()
    assert "dropped: gone.png, biden.png" in err
    assert {p.name for p in tmp_path.iterdir()} == {
        *("verification.json", "roc.png", "scores.csv", "errors.csv", "embeddings.npz")
    }
    errors = (tmp_path / "errors.csv").read_text().splitlines()
    assert errors == ["image,error", f"gone.png,no such image: {faces / 'gone.png'}"]


def evaluate(capsys, faces, out, *more):
    rows = ["obama_a.png,obama_b.png,1", "obama_a.png,biden.png,0", "obama_b.png,biden.png,0"]
    (faces / "judged.csv").write_text("\n".join(["probe,gallery,same", *rows]) + "\n")
    given = ("--model", faces / "small.onnx", "--aligned", "--forwards", "9", "--out", out)
    return run(capsys, "evaluate", faces / "judged.csv", *given, *more)


def records(out):
    """Of a run, without what is measured by the clock."""
    found = [json.loads(line) for line in (out / "records.jsonl").read_text("utf-8").splitlines()]
    return [r for r in found if r["judge"] != "runtime"]


def test_evaluate_judges_and_goes_on_where_it_stopped(faces, tmp_path, capsys, monkeypatch):
    # What makes a model ready has tests of its own, and takes longer than these few images.
    monkeypatch.setattr("fggb_jax.attribution.embedding_pass.FEW", 10**6)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    asked = ("--methods", "gradient,occlusion,centre", "--metrics", "deletion_insertion")
    status, said, err = evaluate(capsys, faces, whole, *asked)
    assert (status, err) == (0, "")
    names = {"table.json", "table.md", "curves.png", "evaluation.html", "run.json", "records.jsonl"}
    assert {path.name for path in whole.iterdir()} == names
    assert "## Deletion and insertion" in said
    found = json.loads((whole / "table.json").read_text("utf-8"))
    assert found["methods"] == ["gradient", "occlusion", "centre"]
    assert found["cost"]["occlusion"]["forwards"] == 9
    assert found["run"]["model"] == "small"

    # A method more in the same folder, and a run that was cut off in the middle of a line.
    first = ("--methods", "gradient,occlusion", "--metrics", "deletion_insertion")
    evaluate(capsys, faces, parts, *first)
    data = (parts / "records.jsonl").read_bytes()
    (parts / "records.jsonl").write_bytes(data[: 2 * len(data) // 3])
    assert evaluate(capsys, faces, parts, *asked)[0] == 0
    once, twice = (
        {(r["pair"], r["method"], name): s for r in records(out) for name, s in r["scores"].items()}
        for out in (whole, parts)
    )
    assert once.keys() == twice.keys()
    assert len(records(whole)) == len(records(parts))
    for key, score in once.items():
        # Images are embedded in other batches, so that cosines round otherwise.
        np.testing.assert_allclose(*(np.array(s, float) for s in (score, twice[key])), 0, 1e-6)

    status, _, err = evaluate(capsys, faces, whole, *asked, "--seed", "1")
    assert status == 2
    assert "has a run with other seed: give another --out" in err


def test_an_option_that_suits_no_pair_is_said_once(faces, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fggb_jax.attribution.embedding_pass.FEW", 10**6)
    asked = ("--methods", "centre,occlusion:size=900", "--metrics", "deletion_insertion")
    status, out, err = evaluate(capsys, faces, tmp_path, *asked)
    assert status == 1
    assert err.count("size is 900; give a whole number from 1 to 112") == 1
    # The runtime and the one metric of each of three pairs.
    assert "(6 results, the first one runtime of pair 0)" in err
    assert [r["pair"] for r in records(tmp_path) if "error" in r] == [0, 2, 1]
    assert "`centre`" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "lrp"], "no method 'lrp'; choose one of"),
        (["--methods", "fggb:colour=red"], "has no option colour"),
        (["--metrics", "beauty"], "no metric 'beauty'; choose some of"),
        (["--threshold", "2"], "give a cosine in"),
    ],
)
def test_wrong_usage_of_evaluate_is_one_line(faces, tmp_path, capsys, options, message):
    status, out, err = evaluate(capsys, faces, tmp_path / "out", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rule", "best"], "no rule 'best' for a threshold"),
        (["--face", "left"], "face is 'left'; give largest, center"),
    ],
)
def test_wrong_usage_of_verify_is_no_fault_of_the_images(
    dlib_proto, photographs, tmp_path, capsys, options, message
):
    rows = ["obama_a.png,obama_b.png,1", "obama_a.png,biden.png,0"]
    (photographs / "pairs.csv").write_text("\n".join(["probe,gallery,same", *rows]) + "\n")
    status, out, err = run(capsys, "verify", photographs / "pairs.csv", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert "dropped" not in err


def test_what_was_embedded_is_kept_where_nothing_can_be_measured(faces, pairs, tmp_path, capsys):
    pairs.write_text(pairs.read_text().replace(str(faces / "biden.png"), "gone.png"))
    command = ("verify", pairs, "--model", faces / "small.onnx", "--aligned")
    status, _, err = run(capsys, *command, "--out", tmp_path / "run")
    assert status == 2
    assert "all 2 scored pairs are genuine pairs; a measurement takes both kinds" in err
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"errors.csv", "embeddings.npz"}


def test_retry_failed_reads_what_failed_and_nothing_else(faces, pairs, tmp_path, capsys):
    """Promise 9: the run ends, the error is a row, the status is not 0, only it is redone."""
    lines = pairs.read_text().replace(str(faces / "biden.png"), str(tmp_path / "late.png"))
    pairs.write_text(lines)
    out = ("--out", tmp_path / "run")
    command = ("verify", pairs, "--model", faces / "small.onnx", "--aligned", "--json", *out)
    status, _, err = run(capsys, *command, "--retry-failed")
    assert status == 2
    assert "there is no run to retry" in err
    # Another genuine pair and another impostor stay, or nothing could be measured.
    extra = f"{faces / 'obama_a.png'},{faces / 'biden.png'},0\n"
    pairs.write_text(lines + extra)
    status, printed, _ = run(capsys, *command)
    assert status == 1
    assert json.loads(printed)["dropped"] == 2
    (tmp_path / "late.png").write_bytes((faces / "biden.png").read_bytes())
    moved = faces / "obama_a.away"
    (faces / "obama_a.png").rename(moved)
    try:
        status, printed, _ = run(capsys, *command, "--retry-failed")
    finally:
        moved.rename(faces / "obama_a.png")
    assert status == 0
    again = json.loads(printed)
    status, printed, _ = run(capsys, *command)
    assert (status, json.loads(printed)) == (0, again)
    assert again["dropped"] == 0
    status, _, err = run(capsys, *command, "--retry-failed", "--face", "largest")
    assert status == 2
    assert "is of another run" in err
    (tmp_path / "run" / "embeddings.npz").write_bytes(b"PK damaged")
    status, _, err = run(capsys, *command, "--retry-failed")
    assert status == 2
    assert "is damaged" in err


@pytest.fixture
def pairs(faces, tmp_path, monkeypatch):
    """Two genuine pairs and two impostors, and a place of this test's for stored thresholds."""
    monkeypatch.setenv("FGGB_CARDS", str(tmp_path / "cards"))
    names = ("obama_a", "obama_b", 1), ("obama_b", "obama_a", 1)
    names += ("obama_a", "biden", 0), ("obama_b", "biden", 0)
    rows = [f"{faces / a}.png,{faces / b}.png,{same}" for a, b, same in names]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["probe,gallery,same", *rows]) + "\n")
    return path


def calibrate(capsys, faces, pairs, *more):
    """(threshold, standard error) of `fggb verify --calibrate`."""
    model = ("--model", faces / "small.onnx")
    status, out, err = run(
        capsys, "verify", pairs, *model, "--aligned", "--calibrate", "--json", *more
    )
    assert status == 0
    return json.loads(out)["threshold"], err


def test_a_calibrated_threshold_is_the_automatic_one(faces, pairs, tmp_path, capsys):
    threshold, err = calibrate(capsys, faces, pairs)
    (stored,) = (tmp_path / "cards" / "thresholds").iterdir()
    assert f"note: the threshold is stored in {stored}: `--threshold auto` uses it for small" in err
    assert "delete the file to undo that" in err
    _, out, _ = explain(
        capsys, faces, "obama_a.png", "biden.png", "--json", "--out", tmp_path / "out"
    )
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result == json.loads(out)
    assert result["threshold"] == threshold != 0.5
    for words in (
        "Equal error rate on 2 genuine and 2 impostor pairs of",
        "model small, EER ",
        "; aligned faces; calibrated by `fggb verify` on 20",
    ):
        assert words in result["threshold_source"]
    stored.unlink()
    _, out, _ = explain(
        capsys, faces, "obama_a.png", "biden.png", "--json", "--out", tmp_path / "out"
    )
    assert json.loads(out)["threshold_source"] == "a guess"


def test_a_far_is_calibrated_for(faces, pairs, tmp_path, capsys):
    threshold, _ = calibrate(capsys, faces, pairs, "--rule", "far=0.5")
    _, out, _ = explain(
        capsys, faces, "obama_a.png", "biden.png", "--json", "--out", tmp_path / "out"
    )
    result = json.loads(out)
    assert result["threshold"] == threshold
    assert result["threshold_source"].startswith("FAR at most 0.5 on 2 genuine and 2 impostor")


def test_verify_alone_stores_nothing(faces, pairs, tmp_path, capsys):
    assert run(capsys, "verify", pairs, "--model", faces / "small.onnx", "--aligned")[0] == 0
    assert not (tmp_path / "cards").exists()


def measure_norms(capsys, faces, *images, model="small.onnx"):
    """(status, standard output, standard error) of `fggb models norms`."""
    command = ("models", "norms", faces / model, *images, "--aligned", "--json")
    return run(capsys, *command)


@pytest.mark.slow  # test_norms and test_calibrate measure smaller networks
def test_measured_norms_are_the_calibrated_ones(faces, pairs, tmp_path, capsys):
    signed = ("--json", "--gradient", "signed", "--norms", "calibrated", "--out", tmp_path / "out")
    status, _, err = explain(capsys, faces, "obama_a.png", "biden.png", *signed)
    assert status == 2
    assert "the card of 'small' has no norms" in err
    assert "`fggb models norms small IMAGES`" in err
    names = [faces / f"{name}.png" for name in samples.NAMES]
    status, out, err = measure_norms(capsys, faces, *names)
    assert status == 0
    stored = json.loads(out)
    (path,) = (tmp_path / "cards" / "norms").iterdir()
    assert (stored["images"], stored["file"], len(stored["norms"])) == (3, str(path), 16)
    assert f"note: the norms are stored in {path}: `--norms calibrated` uses them for small" in err
    model = fx.load_model(faces / "small.onnx")
    chips = [samples.chip(name, fx.cards()["sface"]) for name in samples.NAMES]
    bare = fx.FaceModel(model.function, model.params, CARD, model.sha256)
    expected = fx.calibrate_norms(bare, np.stack(chips)).card.norms
    assert tuple(stored["norms"]) == model.card.norms == expected
    status, out, _ = explain(capsys, faces, "obama_a.png", "biden.png", *signed)
    result = json.loads(out)
    assert (status, result["options"]["norms"], result["vjps_per_image"]) == (0, "calibrated", 3)
    assert result["norms_source"].startswith("mean over 3 images; aligned faces; measured by `fggb")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Estimated: norms of channels in the card" in page


def test_images_that_fail_are_left_out_of_the_norms(faces, pairs, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes((faces / "biden.png").read_bytes())
    (folder / "b.png").write_bytes(b"no image")
    status, out, err = measure_norms(capsys, faces, folder)
    assert (status, json.loads(out)["images"]) == (1, 1)
    assert f"{folder / 'b.png'}" in err
    (folder / "a.png").unlink()
    status, out, err = measure_norms(capsys, faces, folder)
    assert (status, out) == (1, "")
    assert "none of 1 images has a face that can be used" in err
    assert run(capsys, "models", "norms", faces / "small.onnx", tmp_path / "gone")[0] == 1


def test_pairs_without_labels_cannot_be_verified(faces, capsys):
    (faces / "unlabelled.csv").write_text("probe,gallery\nobama_a.png,biden.png\n")
    status, _, err = run(
        capsys, "verify", faces / "unlabelled.csv", "--model", faces / "small.onnx", "--aligned"
    )
    assert status == 1
    assert "does not say which pairs are the same person" in err


def test_a_folder_that_cannot_be_written_is_named(faces, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = ("--out", tmp_path / "file")
    status, _, err = explain(capsys, faces, "obama_a.png", "biden.png", *out, *QUICK)
    assert status == 1
    assert "cannot write to" in err


def test_a_detector_is_no_face_model(faces, model_file, tmp_path, capsys):
    path = model_file("face_detection_yunet_2023mar.onnx")
    status, _, err = explain(capsys, faces, "obama_a.png", "biden.png", model=path)
    assert status == 1
    assert "no face recognizer" in err


def test_models_are_listed_and_shown(capsys):
    for arguments in (["models"], ["models", "list"]):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert "CC0-1.0" in out
    status, out, _ = run(capsys, "models", "show", "sface", "--json")
    assert json.loads(out)["sha256"].startswith("0ba9fbfa")
    assert "128 numbers from 9.243 to 10.85" in run(capsys, "models", "show", "sface")[1]
    status, _, err = run(capsys, "models", "show", "arcface")
    assert (status, err.split(";")[0]) == (1, "error: no card 'arcface'")


def test_models_are_shown_with_the_threshold_in_use(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FGGB_CARDS", str(tmp_path))
    sface = fx.cards()["sface"]
    path = calibration.store(sface.sha256, 0.125, "a rule", model="sface", detector="aligned faces")
    _, out, _ = run(capsys, "models", "show", "sface", "--json")
    shown = json.loads(out)
    assert (shown["threshold"], shown["calibrated_here"]) == (0.125, str(path))
    assert shown["norms_here"] is None
    assert shown["threshold_source"].startswith("a rule; aligned faces; calibrated by")
    _, out, _ = run(capsys, "models", "list")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "0.125, calibrated here" in lines["sface"]
    assert "0.272 " in lines["mobilefacenet"]
    path.write_text("threshold = ")
    status, out, err = run(capsys, "models", "show", "sface", "--json")
    assert (status, json.loads(out)["threshold"]) == (0, sface.threshold)
    assert f"note: {path} is no stored threshold" in err


def test_wrong_usage_is_status_2(capsys):
    assert run(capsys, "explain")[0] == 2
    assert run(capsys, "nonsense")[0] == 2


def test_help_has_examples(capsys):
    for command in ("demo", "explain"):
        status, out, _ = run(capsys, command, "--help")
        assert status == 0
        assert f"Example:  fggb {command}" in out


def test_the_demo_says_accept_and_reject(dlib_proto, tmp_path):
    """The real thing, in a process of its own."""
    command = [sys.executable, "-c", "from fggb_jax.cli import main; main()"]
    done = subprocess.run(
        [*command, "demo", "--out", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if "cosine" in line]
    assert lines[0].startswith("accept  same person: cosine 0.967")
    assert lines[1].startswith("reject  another person: cosine 0.813")
    assert {p.name for p in (tmp_path / "demo").iterdir()} >= FILES
    assert {p.name for p in (tmp_path / "demo" / "impostor").iterdir()} == FILES
    assert done.stderr == ""
