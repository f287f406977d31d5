"""The lists of the protocols, and that a name is refused where other pictures were seen."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palgan_jax.errors import UserError
from palgan_jax.evaluation import protocols
from palgan_jax.evaluation.protocols import PROTOCOLS, difference, find_protocol, list_sha256, select, select_reference
from palgan_jax.evaluation.resize import RESIZES
from palgan_jax.evaluation.truth import partners
from tests.support.places import ROOT

LISTED = [name for name, protocol in PROTOCOLS.items() if protocol.names is not None]
VAL5K = PROTOCOLS["imagenet-val5k"]
NUMBERS = st.sets(st.integers(0, 4999), max_size=8)


@pytest.mark.parametrize("name", LISTED)
def test_a_list_is_what_its_count_and_its_hash_say(name):
    protocol = PROTOCOLS[name]
    names = protocol.names()
    assert len(set(names)) == len(names) == protocol.count
    assert list(names) == sorted(names)
    assert hashlib.sha256("".join(f"{n}\n" for n in names).encode()).hexdigest() == protocol.sha256
    assert list_sha256(reversed([f"val/{n}" for n in names])) == protocol.sha256
    assert not difference(protocol, names)


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("imagenet_ctest10k", PROTOCOLS["imagenet-ctest10k"].names),
        ("imagenet_coltran_eval", PROTOCOLS["imagenet-coltran5k"].names),
        ("imagenet_coltran_reference", PROTOCOLS["imagenet-coltran5k"].reference),
    ],
)
def test_the_lists_are_the_published_ones(file, names):
    path = ROOT.parent / "shared" / "data" / "splits" / f"{file}.txt"
    if not path.is_file():
        pytest.skip(f"needs the published list, which is not at {path}")
    assert sorted(path.read_text().split()) == list(names())


def test_what_is_known_of_the_lists():
    names = set(PROTOCOLS["imagenet-val50k"].names())
    assert all(names.issuperset(PROTOCOLS[name].names()) for name in LISTED)
    # ctest10k lies between the 25,275th file and the last one; ColTran's two lists have no picture in common.
    ctest = PROTOCOLS["imagenet-ctest10k"].names()
    assert (ctest[0], ctest[-1]) == ("ILSVRC2012_val_00025275.JPEG", "ILSVRC2012_val_00050000.JPEG")
    coltran = PROTOCOLS["imagenet-coltran5k"]
    assert coltran.reference is not None
    assert len(coltran.reference()) == 5000
    assert not set(coltran.names()) & set(coltran.reference())
    assert VAL5K.names()[-1] == "ILSVRC2012_val_00005000.JPEG"
    assert all(protocol.resize in RESIZES for protocol in PROTOCOLS.values())


@given(missing=NUMBERS, twice=NUMBERS, extra=st.sets(st.integers(5001, 50_000), max_size=3), data=st.data())
def test_missing_extra_and_doubled_pictures_are_named(missing, twice, extra, data):
    names_on_list = VAL5K.names()
    missing, twice = {names_on_list[i] for i in missing}, {names_on_list[i] for i in twice}
    extra = {f"ILSVRC2012_val_{i:08d}.JPEG" for i in extra}
    folder = data.draw(st.sampled_from(["", "val/", "n01440764/"]))
    names = [folder + name for name in names_on_list if name not in missing] + [
        f"more/{name}" for name in twice - missing
    ]
    differences = difference(VAL5K, [*extra, *reversed(names)])
    assert set(differences.missing) == missing
    assert set(differences.extra) == extra
    assert set(differences.duplicates) == twice - missing
    assert bool(differences) == bool(missing or extra or twice)
    for part in (differences.missing, differences.extra, differences.duplicates):
        assert all(name in str(differences) for name in part[:5])


def coco(numbers):
    return [f"{number:012d}.jpg" for number in numbers]


def test_coco_is_known_by_its_number_of_pictures_and_the_ends_of_its_list():
    protocol = PROTOCOLS["coco-val2017"]
    ends = [int(name[:-4]) for name in protocol.some_names]
    numbers = sorted({*ends, *range(2000, 2000 + 5000 - len(ends))})
    assert len(numbers) == 5000
    assert not difference(protocol, coco(numbers))
    assert "4,999 pictures instead of 5,000" in str(difference(protocol, coco(numbers)[:-1]))
    foreign = difference(protocol, coco(range(1, 5001)))
    assert foreign.missing == ("000000581357.jpg", "000000581482.jpg", "000000581615.jpg", "000000581781.jpg")
    assert difference(protocol, [*coco(numbers[:-1]), "picture.jpg"]).extra == ("picture.jpg",)
    assert difference(protocol, [*coco(numbers), "x/000000000139.jpg"]).duplicates == ("000000000139.jpg",)


def test_the_pictures_of_a_list_are_picked_in_its_order_out_of_more():
    names_on_list = list(VAL5K.names())
    names = ["elsewhere/cat.jpg", *(f"val/{name}" for name in reversed(PROTOCOLS["imagenet-val50k"].names()))]
    assert [names[i] for i in select(VAL5K, names)] == [f"val/{name}" for name in names_on_list]
    doubled = [*names, f"copy/{names_on_list[7]}"]
    assert difference(VAL5K, [doubled[i] for i in select(VAL5K, doubled)]).duplicates == (names_on_list[7],)
    assert select(PROTOCOLS["folder"], names) == list(range(len(names)))


def test_a_reference_is_whole_or_refused():
    coltran = PROTOCOLS["imagenet-coltran5k"]
    names = list(PROTOCOLS["imagenet-val50k"].names())
    assert tuple(names[i] for i in select_reference(coltran, names)) == coltran.reference()
    missing = coltran.reference()[3]
    with pytest.raises(UserError, match=f"1 of them missing \\({missing}\\)"):
        select_reference(coltran, [name for name in names if name != missing])
    with pytest.raises(UserError, match="there twice"):
        select_reference(coltran, [*names, f"copy/{missing}"])


def test_any_folder_is_a_protocol_of_its_own():
    assert not difference(PROTOCOLS["folder"], ["a/x.png", "b/x.png"])
    with pytest.raises(UserError, match="val5k is no protocol: name one of imagenet-val50k"):
        find_protocol("val5k")
    assert protocols.stem("a.b/c.d.png") == "c.d"


@given(count=st.integers(2, 300), seed=st.integers(0, 2**32))
def test_each_picture_has_another_one_as_its_partner(count, seed):
    order = partners(count, seed)
    assert sorted(order) == list(range(count))
    assert not np.any(order == np.arange(count))
    np.testing.assert_array_equal(order, partners(count, seed))


def test_one_picture_has_no_partner():
    with pytest.raises(UserError, match="at least two"):
        partners(1, 0)
