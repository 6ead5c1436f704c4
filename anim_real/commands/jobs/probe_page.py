"""The page of a probe: per sensor the verdict, figures against their limits, maps and histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.interference import Interference
from anim_real.capture.interference_limits import TILE_PX, InterferenceLimits
from anim_real.report import Report
from anim_real.rig import RigSpec

if TYPE_CHECKING:
    from anim_real.commands.jobs.probe import Probed

_ADVICE = (
    "Expose the cameras while the projector is dark: delay the projector, or the cameras with depth_delay_us and "
    "subordinate_delay_us. Depth cameras themselves need 160 µs or more between them.",
    "Keep the projector's light out of the sensors' band: a filter that blocks 850 nm in front of the projector. Flash "
    "and halogen lamps shine there, visible LEDs hardly do.",
    "Turn the projector so that it neither shines into a sensor nor mirrors off a shiny surface.",
    "If nothing helps, record depth while the projector is off: an offset between scan and depth that is known "
    "(trigger times) costs less than a bias that is not.",
)
_WORDS = {
    "ok": "The projector does not disturb this camera beyond the limits.",
    "disturbed": "The projector disturbs this camera.",
    "refused": "This measurement does not tell.",
}
_GREY = "#d8d8d8"


def probe_page(rig: RigSpec, probed: list[Probed], limits: InterferenceLimits) -> Report:
    """Return the report; nothing is written."""
    report = Report(f"Does the scanner disturb the depth cameras of rig {rig.name}?")
    report.table(
        ("sensor", "verdict", "bias mm", "noise mm, off → on", "drop-outs, off → on", "reasons"),
        [
            (
                item.sensor,
                item.found.verdict,
                f"{item.found.bias_mm:+.2f} ± {item.found.bias_se_mm:.2f}",
                f"{item.found.noise_off_mm:.2f} → {item.found.noise_on_mm:.2f}",
                f"{item.found.dropout_off:.2%} → {item.found.dropout_on:.2%}",
                "; ".join(item.found.reasons) or "none",
            )
            for item in probed
        ],
    )
    if any(item.found.verdict == "disturbed" for item in probed):
        report.heading("What helps")
        for advice in _ADVICE:
            report.text(advice)
    for item in probed:
        _add_sensor(report, item, limits)
    report.heading("How it was measured")
    report.text(
        "Three stretches of a still scene: projector off, on, off. Bias is on less the mean of both off, so that a "
        "sensor that drifts evenly cancels. The two dark stretches must agree, or the scene moved and nothing is "
        "concluded. Standard errors come from the means of eight blocks per stretch, which makes them hold for noise "
        "that is not independent from capture to capture."
    )
    return report


def _add_sensor(report: Report, item: Probed, limits: InterferenceLimits) -> None:
    found = item.found
    report.heading(f"{item.sensor}: {found.verdict}")
    where = "in the rig's volume" if item.is_calibrated else "in the whole image (no calibration was given)"
    report.text(f"{_WORDS[found.verdict]} {found.num_pixels:,} pixels were measured {where}.")
    for reason in found.reasons:
        report.text(f"• {reason}")
    report.table(("", "measured", "limit", "within"), _figures(found, limits))
    report.facts(
        {
            "captures before, on, after": ", ".join(str(number) for number in found.num_captures),
            "variance of means, against independent captures": f"{found.inflation:.2f} times",
            "drift between the dark stretches": f"{found.drift_mm:+.2f} mm",
            "pixels that moved": f"{found.moved_share:.2%}",
        }
    )
    if found.num_pixels:
        report.chart(_maps(item), f"{item.sensor}: what was measured per pixel; grey = not measured")
        report.chart(_histograms(found), f"{item.sensor}: bias of the pixels; noise with the projector off and on")


def _figures(found: Interference, limits: InterferenceLimits) -> list[tuple[Any, ...]]:
    rows = (
        ("mean bias", found.bias_mm, found.bias_se_mm, limits.bias_mm, "mm", 1.0),
        ("root mean square bias", found.rms_bias_mm, None, limits.bias_mm, "mm", 1.0),
        (f"bias of the worst tile ({TILE_PX}x{TILE_PX} px)", found.worst_tile_mm, None, limits.tile_bias_mm, "mm", 1.0),
        ("added noise", found.added_noise_mm, found.added_noise_se_mm, limits.added_noise_mm, "mm", 1.0),
        ("further drop-outs", found.added_dropout, found.added_dropout_se, limits.added_dropout, "%", 100.0),
        ("further drop-outs of the worst tile", found.worst_tile_dropout, None, limits.tile_added_dropout, "%", 100.0),
    )
    return [
        (
            name,
            f"{value * factor:.2f}{'' if error is None else f' ± {error * factor:.3f}'} {unit}",
            f"{limit * factor:g} {unit}",
            bool(abs(value) <= limit),
        )
        for name, value, error, limit, unit, factor in rows
    ]


def _maps(item: Probed) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    maps = item.found.maps
    bias_range = max(2.0, _top(np.abs(maps.bias_mm), 99))
    noise_top = max(_top(maps.noise_on_mm, 98), _top(maps.noise_off_mm, 98), 1.0)
    dropout_top = max(0.05, _top(maps.dropout_on, 99))
    ir_change = np.where(item.reference_mm > 0, maps.ir_on - maps.ir_off, np.nan)
    ir_range = max(10.0, _top(np.abs(ir_change), 99))
    panels: list[tuple[NDArray[Any], str, str, float, float]] = [
        (np.where(item.reference_mm > 0, item.reference_mm * 1e-3, np.nan), "depth, m", "viridis", 0.3, 4.0),
        (maps.bias_mm, "bias (on − off), mm", "RdBu_r", -bias_range, bias_range),
        (maps.significance, "bias in standard errors", "RdBu_r", -10.0, 10.0),
        (maps.noise_off_mm, "noise off, mm", "magma", 0.0, noise_top),
        (maps.noise_on_mm, "noise on, mm", "magma", 0.0, noise_top),
        (maps.noise_on_mm / maps.noise_off_mm, "noise on / off", "RdBu_r", 0.0, 2.0),
        (maps.dropout_off, "drop-outs off, share", "magma", 0.0, dropout_top),
        (maps.dropout_on, "drop-outs on, share", "magma", 0.0, dropout_top),
        (ir_change, "IR on − off, counts", "RdBu_r", -ir_range, ir_range),
    ]
    figure, axes = plt.subplots(3, 3, figsize=(11.0, 9.4), layout="constrained")
    for axis, (image, title, colors, low, high) in zip(axes.flat, panels, strict=True):
        axis.set_facecolor(_GREY)
        shown = axis.imshow(image, cmap=colors, vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
        figure.colorbar(shown, ax=axis, fraction=0.045, pad=0.02)
    return figure


def _histograms(found: Interference) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    maps = found.maps
    bias = maps.bias_mm[np.isfinite(maps.bias_mm)]
    reach = max(2.0, float(np.percentile(np.abs(bias), 99.5)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.0, 3.0), layout="constrained")
    left.hist(bias, bins=120, range=(-reach, reach), color="#4c78a8")
    left.axvline(0.0, color="#1b1f24", linewidth=0.8)
    left.axvline(found.bias_mm, color="#cf222e", linewidth=1.2, label=f"mean {found.bias_mm:+.2f} mm")
    left.set_xlabel("bias of a pixel, mm")
    left.set_ylabel("pixels")
    left.legend(fontsize=8)
    top = max(_top(maps.noise_on_mm, 99), _top(maps.noise_off_mm, 99), 1.0)
    for noise, name, color in ((maps.noise_off_mm, "off", "#4c78a8"), (maps.noise_on_mm, "on", "#f58518")):
        right.hist(noise[np.isfinite(noise)], bins=120, range=(0.0, top), alpha=0.6, color=color, label=name)
    right.set_xlabel("noise of a pixel (standard deviation), mm")
    right.legend(fontsize=8)
    return figure


def _top(values: NDArray[Any], percent: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite.size else 0.0
