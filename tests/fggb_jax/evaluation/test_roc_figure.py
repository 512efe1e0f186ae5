import sys

import numpy as np
import pytest

import fggb_jax as fx
from fggb_jax.evaluation.rates import eer, tar_at_far
from fggb_jax.evaluation.roc_figure import Scored, draw


def scored(name="a model", n=300, m=300, apart=0.5, seed=0, **options):
    rng = np.random.default_rng(seed)
    same = np.arange(n + m) < n
    return Scored(name, rng.normal(apart * same, 0.15).clip(-1, 1), same, **options)


def texts(figure):
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [text for artist in found if (text := artist.get_text())]


def curves(figure):
    """Lines of the models, by label."""
    lines = figure.axes[0].get_lines()
    return {line.get_label(): line for line in lines if "EER" in str(line.get_label())}


def test_the_curve_is_the_measured_tar_from_one_impostor_on():
    model = scored()
    ((label, line),) = curves(draw([model], resamples=20)).items()
    rate = eer(model.scores, model.same).eer
    assert label.startswith(f"a model   EER {100 * rate:.2f} %")
    x, y = line.get_xdata(), line.get_ydata()
    assert x[0] == pytest.approx(1 / 300)
    assert x[-1] == 1
    for far in (1 / 300, 0.01, 0.1):
        at = np.searchsorted(x, far + 1e-9) - 1
        assert y[at] == tar_at_far(model.scores, model.same, far).tar
    assert line.get_drawstyle() == "steps-post"


def test_what_is_not_measured_is_marked():
    figure = draw([scored()], resamples=20)
    assert "not measured" in texts(figure)
    assert figure.axes[0].get_xlim()[0] < 1 / 300


def test_errors_are_counted_in_words():
    model = scored(threshold=0.3)
    wrong = int((model.scores[model.same] < 0.3).sum())
    accepted = int((model.scores[~model.same] >= 0.3).sum())
    shown = " | ".join(texts(draw([model], resamples=20)))
    assert f"{wrong} of 300 genuine rejected" in shown
    assert f"{accepted} of 300 impostors accepted" in shown
    assert "threshold 0.3000" in shown


def test_several_models_have_their_own_colours_and_limits():
    models = [scored("first"), scored("second", m=1000), scored("third", apart=0.2)]
    figure = draw(models, resamples=20)
    lines = list(curves(figure).values())
    assert len({line.get_color() for line in lines}) == 3
    assert [round(1 / line.get_xdata()[0]) for line in lines] == [300, 1000, 300]
    assert len(figure.axes) == 4
    assert {"first", "second", "third"} <= set(texts(figure))


@pytest.mark.parametrize(
    "model",
    [
        scored(apart=3.0),
        scored(apart=-0.5),
        scored(n=2, m=2),
        scored(n=2000, m=3),
        scored(threshold=0.99),
        scored(threshold=-0.99),
        scored("$\\frac{1}$ _^ 人 a very long name " * 3),
    ],
    ids=["perfect", "reversed", "four pairs", "few impostors", "high", "low", "name"],
)
def test_extremes_are_drawn(model):
    figure = draw([model], resamples=20)
    figure.canvas.draw()
    assert all("人" not in text for text in texts(figure))


def test_the_same_scores_give_the_same_pixels():
    def pixels():
        figure = draw([scored()], resamples=50)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba()).copy()

    np.testing.assert_array_equal(pixels(), pixels())


def test_pyplot_stays_out(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # another test's
    draw([scored()], resamples=20)
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("count", [0, 19])
def test_a_number_of_models_that_cannot_be_drawn(count):
    with pytest.raises(fx.OptionError, match="one to 18 can be drawn"):
        draw([scored()] * count)


def test_scores_that_allow_no_measurement():
    with pytest.raises(fx.OptionError, match="both kinds"):
        draw([Scored("x", [0.1, 0.2], [1, 1])])
