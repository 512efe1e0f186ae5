import json

import numpy as np
import pytest

import fggb_jax
from fggb_jax.data import samples
from fggb_jax.errors import ImageError
from fggb_jax.faces.landmark_files import read_landmarks

FIVE = [[1.5, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
HEADER = "photo,scheme,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n"
LINE = "ann.jpg,arcface-5,1.5,2,3,4,5,6,7,8,9,10\n"


def test_the_file_that_ships_with_the_package_is_read():
    from importlib.resources import files

    path = files(fggb_jax) / "data" / "portraits" / "landmarks.json"
    found = read_landmarks(str(path))
    photos = samples.landmarks()["photos"]
    assert sorted(p.name for p in found) == sorted(photos)
    for photo, landmarks in found.items():
        assert photo.is_file()
        for scheme, points in photos[photo.name].items():
            assert landmarks[scheme].dtype == np.float32
            np.testing.assert_allclose(landmarks[scheme], points, rtol=1e-6)


def test_csv_and_json_say_the_same(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeff" + HEADER + "\n" + LINE + "sub/b.jpg," + LINE[8:])
    photos = {"ann.jpg": {"arcface-5": FIVE}, "sub/b.jpg": {"arcface-5": FIVE}}
    (tmp_path / "a.json").write_text(json.dumps({"photos": photos, "note": "ignored"}))
    for name in ("a.csv", "a.json"):
        found = read_landmarks(tmp_path / name)
        assert list(found) == [tmp_path / "ann.jpg", tmp_path / "sub" / "b.jpg"]
        np.testing.assert_array_equal(found[tmp_path / "ann.jpg"]["arcface-5"], FIVE)


def test_schemes_of_different_lengths_share_a_csv(tmp_path):
    head = ",".join(f"x{i},y{i}" for i in range(1, 69))
    many = ",".join(str(v) for v in range(136))
    path = tmp_path / "a.csv"
    few = "1,2,3,4,5,6,7,8,9,10" + 126 * ","
    path.write_text(f"photo,scheme,{head}\nann.jpg,dlib-68,{many}\nann.jpg,dlib-5,{few}\n")
    found = read_landmarks(path)[tmp_path / "ann.jpg"]
    np.testing.assert_array_equal(found["dlib-68"].ravel(), np.arange(136))
    assert found["dlib-5"].shape == (5, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: the header is ''"),
        ("photo,scheme,y1,x1\n", r"line 1: the header is 'photo,scheme,y1,x1'; it must be"),
        (HEADER + LINE + LINE, r"line 3: 'ann.jpg' has arcface-5 landmarks already"),
        (HEADER + LINE.replace("7", "seven"), r"line 2: x4 is 'seven', not a number"),
        (HEADER + LINE.replace(",10", ""), r"line 2: point 5 has an x but no y"),
        (HEADER + LINE.replace(",9,10", ""), r"line 2, 'ann.jpg': landmarks of shape \(4, 2\)"),
        (HEADER + LINE.replace("\n", ",1\n"), r"line 2: 13 cells; the header has 12"),
        (HEADER + LINE.replace("1.5", "nan"), r"line 2, 'ann.jpg': .* not finite"),
        (HEADER + LINE.replace("1.5", "1e999"), r"line 2, 'ann.jpg': .* not finite"),
        (HEADER + LINE.replace("1.5", ""), r"line 2: x1 is '', not a number"),
        (HEADER + "\n" + LINE.replace("arcface-5", "mtcnn"), r"line 3, .*no landmark scheme"),
        (HEADER + ",,1\n", r"line 2: it must begin with a photograph and a scheme"),
    ],
)
def test_a_wrong_csv_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ImageError, match=r"a\.csv, " + message):
        read_landmarks(path)


def as_json(points, photo="ann.jpg", scheme="arcface-5"):
    return f'{{\n"photos": {{\n"ok.jpg": {{}},\n"{photo}": {{\n"{scheme}":\n{points}\n}}}}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"photos":\n{"a": }}', r", line 2: no JSON \(Expecting value\)"),
        ("[]", r', line 1: it must be an object with an entry "photos"'),
        ('{"photos": []}', r", line 1: it must be an object with an entry"),
        ('{"photos": {"a": {},\n"b": 3}}', r", line 2: 'b' must be an object, scheme → points"),
        (as_json(FIVE[:4]), r", line 5, 'ann.jpg': landmarks of shape \(4, 2\)"),
        (as_json("[]"), r", line 5, 'ann.jpg': landmarks of shape \(0, 2\)"),
        (as_json("[[1, 2, 3]]"), r", line 5: 'arcface-5' of 'ann.jpg' must be a list of points"),
        (as_json('[["1", 2]]'), r", line 5: 'arcface-5' of 'ann.jpg' must be a list of points"),
        (as_json("[[true, 2]]"), r", line 5: 'arcface-5' of 'ann.jpg' must be a list of points"),
        (as_json('{"x": 1}'), r", line 5: 'arcface-5' of 'ann.jpg' must be a list of points"),
        (as_json(str(FIVE).replace("1.5", "NaN")), r", line 5, 'ann.jpg': .* not finite"),
        (as_json(str(FIVE).replace("1.5", "1" + 5000 * "0")), r", line 5, .* not finite"),
        (as_json(FIVE, scheme="mtcnn"), r", line 5, .*no landmark scheme 'mtcnn'"),
        (
            '{"photos": {"a": {"dlib-5": [[1,2],[3,4],[5,6],[7,8],[9,9]]},\n'
            '"./a": {"dlib-5":\n [[1,2],[3,4],[5,6],[7,8],[9,9]]}}}',
            r", line 2: './a' has dlib-5 landmarks already",
        ),
        ("[" * 100_000, r": it is nested too deeply"),
    ],
)
def test_wrong_json_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ImageError, match=r"a\.json" + message):
        read_landmarks(path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"no such file of landmarks: .*none\.csv"):
        read_landmarks(tmp_path / "none.csv")
    with pytest.raises(ImageError, match=r"ends in '\.txt'; landmarks are read from \.json and"):
        read_landmarks(tmp_path / "a.txt")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImageError, match="cannot be read as text"):
        read_landmarks(tmp_path / "a.csv")
