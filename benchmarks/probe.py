"""The interference probe against the truth of the virtual studio, and what a live virtual capture costs.

    python benchmarks/probe.py

Three stretches of 150 captures (5 s at 30 fps) of the virtual rig's camera, the whole depth image as region:
twenty times without an effect, ten times with one of 3 mm, twice the noise and 5 % drop-outs.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from anim_real.capture.depth_statistics import DepthStatistics, first_reference
from anim_real.capture.interference import Interference, assess
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.rig import load_rig
from anim_real.studio.live import Faults, VirtualRig
from anim_real.studio.live_images import LiveDepth, NoiseTable, live_depth, projector_effect

NUM = 150
EFFECT = Faults(lit_bias_mm=3.0, lit_noise_factor=2.0, lit_dropout_share=0.05)


def probe(seed: int, table: NoiseTable, dark: LiveDepth, lit: LiveDepth) -> Interference:
    """Off, on, off."""
    rng = np.random.default_rng(seed)
    reference = first_reference([dark.draw(table, rng)[0] for _ in range(5)])
    stretches = []
    for scene in (dark, lit, dark):
        stretches.append(DepthStatistics(reference, NUM))
        while not stretches[-1].is_full:
            stretches[-1].add(*scene.draw(table, rng))
    return assess(stretches[0], stretches[1], stretches[2], np.ones(dark.shape, dtype=bool))


def main() -> None:
    """Print found against true."""
    rig = load_rig(str(Path(__file__).parents[1] / "rigs" / "virtual.toml"))[0]
    stage = VirtualRig(rig, parse_calibration)
    dark = live_depth(stage.studio.devices["k0"], stage.surface, stage.surface_pose(False))
    lit = dark.lit(EFFECT)
    clear = [probe(seed, stage.table, dark, dark) for seed in range(20)]
    alarms = sum(found.verdict != "ok" for found in clear)
    print(
        f"no effect: {alarms} alarms of {len(clear)}; largest bias {max(abs(f.bias_mm) for f in clear):.4f} mm, "
        f"of a tile {max(abs(f.worst_tile_mm) for f in clear):.2f} mm"
    )
    effect = projector_effect(*np.meshgrid(*(np.linspace(-1, 1, size) for size in dark.shape), indexing="ij"))
    rows = []
    for seed in range(500, 510):
        found = probe(seed, stage.table, dark, lit)
        share = effect[np.isfinite(found.maps.bias_mm)]
        sigma = dark.sigma_mm.reshape(dark.shape)[np.isfinite(found.maps.bias_mm)]
        lost = (dark.high - dark.low).clip(0.0).reshape(dark.shape) * EFFECT.lit_dropout_share * effect
        rows.append(
            (
                (found.bias_mm, EFFECT.lit_bias_mm * share.mean()),
                (found.added_noise_mm, np.sqrt(np.median(sigma**2 * ((1 + share) ** 2 - 1)))),
                (found.added_dropout * 100, lost[np.isfinite(found.maps.dropout_on)].mean() * 100),
            )
        )
    pairs = np.array(rows)  # (seeds, figures, found and true)
    for index, (name, unit) in enumerate((("bias", "mm"), ("added noise", "mm"), ("further drop-outs", "%"))):
        found_mean, true_mean = pairs[:, index].mean(0)
        worst = np.abs(pairs[:, index, 0] - pairs[:, index, 1]).max()
        print(
            f"{name}: found {found_mean:.3f}, true {true_mean:.3f} {unit} (mean of {len(pairs)}); worst off {worst:.3f}"
        )
    camera = stage.open("k0")
    camera.start()
    used = []
    for _ in range(90):
        began = time.thread_time()
        camera.read(2.0)
        used.append(time.thread_time() - began)
    milliseconds = np.array(used) * 1e3
    print(
        f"a live capture (NFOV_UNBINNED, 720P): {np.median(milliseconds):.2f} ms of CPU, {milliseconds.min():.2f} least"
    )


if __name__ == "__main__":
    main()
