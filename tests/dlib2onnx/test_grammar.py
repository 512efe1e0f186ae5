from functools import partial

from dlib2onnx import grammar
from dlib2onnx.layers import AveragePool, Con, Input, Relu, Tag
from dlib2onnx.layers.base import Window


def test_a_network_runs_from_the_outermost_layer_to_the_input():
    net = grammar.input_rgb_image_sized(8, name="in")
    net = grammar.relu(grammar.con(4, 3, 5, 2, 1, net, name="c"), name="r")
    assert net == (
        Relu(name="r"),
        Con(4, Window(3, 5, 2, 1), name="c"),
        Input(8, 8, name="in"),
    )


def test_pooling_everything_is_a_window_of_zero():
    assert grammar.avg_pool_everything((), name="p") == (AveragePool(Window(0, 0, 1, 1), name="p"),)


def test_scope_names_only_what_its_template_adds():
    inside = grammar.relu(grammar.tag(1, ()), name="relu")
    net = grammar.scope("outer", partial(grammar.relu, name="relu"), inside)
    assert net == (Relu(name="outer.relu"), Relu(name="relu"), Tag(1, name="tag1"))
