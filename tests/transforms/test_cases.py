"""A transform without a case is a transform without tests."""

from tests.transforms.cases import CASES, made

import pushforward.transforms


def test_every_public_transform_has_a_case():
    covered = {type(case.build(3, 0)).__name__ for case in CASES}
    assert set(pushforward.transforms.__all__) - {"Transform"} == covered


def test_cases_have_names_of_their_own():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_cases_lie_away_from_the_identity():
    """Where nothing is trained there is nothing to draw; everything else is drawn anew."""
    for case in CASES:
        before = {name: p.clone() for name, p in case.build(3, 2).named_parameters()}
        for name, parameter in made(case, 3, 2).named_parameters():
            assert not bool((parameter == before[name]).any()), (case.name, name)
