"""Run in processes of their own: explain pairs on meshes, and write the maps.

python explain_on_mesh.py OUT COUNT…                     meshes of so many of this process's devices
python explain_on_mesh.py OUT --join ADDRESS RANK COUNT  a mesh over the devices of COUNT processes
"""

import sys

import jax
import numpy as np

import fggb_jax as fx
import tiny


def explain(device):
    stream = fx.explain_pairs(tiny.model(), tiny.faces(), tiny.PAIRS, device=device)
    return np.stack([tiny.maps(e) for e in stream])


def main(out, *arguments):
    if arguments[0] == "--join":
        address, rank, count = arguments[1], int(arguments[2]), int(arguments[3])
        jax.distributed.initialize(address, count, rank)
        assert len(jax.devices()) == count * len(jax.local_devices())
        np.savez(out, all=explain(jax.make_mesh((len(jax.devices()),), ("any",))))
        jax.distributed.shutdown()
        return
    found = {}
    for count in arguments:
        mesh = jax.make_mesh((int(count),), ("any",), devices=jax.devices()[: int(count)])
        found[count] = explain(mesh)
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
