import pytest

from palgan_jax.data.replacements import Replacements
from palgan_jax.errors import DataStopped


def test_share_of_replaced_pictures_is_taken_of_a_thousand_at_first():
    replacements = Replacements("set", 50_000, 0.01)
    replacements.add(64, [f"p{i}" for i in range(10)])
    replacements.add(64, ["p3"] * 20)  # the same again says nothing new
    with pytest.raises(DataStopped, match=r"^11 of the first 129 pictures of set .*p0, p1, p2, p3, p4 and 6 more"):
        replacements.add(1, ["p10"])
    replacements = Replacements("set", 50_000, 0.01)
    replacements.add(5000, [f"p{i}" for i in range(50)])
    with pytest.raises(DataStopped, match=r"1\.00%"):
        replacements.add(0, ["p50"])
