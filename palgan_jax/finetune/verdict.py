"""Whether it helped, in plain words."""

from palgan_jax.evaluation.compare import Comparison, MetricDifference


def verdict(after_and_before: Comparison) -> list[str]:
    """Returns sentences on the model after (A) and before (B), on the photographs that were kept aside."""
    error, color = (after_and_before.metrics[name] for name in ("ciede2000", "colorfulness"))
    assert error.low is not None and error.high is not None
    return [
        f"{_conclusion(error.low, error.high)} On the {after_and_before.count} photographs that were kept aside, the "
        f"mean error of colors (CIEDE2000) is {error.first:.2f}; before, it was {error.second:.2f}. The difference is "
        f"{error.difference:+.2f}, and with 95 % confidence from {error.low:+.2f} to {error.high:+.2f}.",
        _vividness(color),
    ]


def _conclusion(low: float, high: float) -> str:
    if high < 0:
        return "It helped."
    if low > 0:
        return "It made things worse: keep the model that it started from."
    return "No clear difference: too few photographs were kept aside to tell, or there is none."


def _vividness(color: MetricDifference) -> str:
    assert color.low is not None and color.high is not None
    figures = f"(colorfulness {color.first:.1f}, {color.second:.1f} before)"
    if color.low <= 0 <= color.high:
        return f"Whether colors are more vivid than before is not clear {figures}."
    return f"Colors are {'paler' if color.difference < 0 else 'more vivid'} than before {figures}."
